"""What a node may say: each op with its typed attributes, parameters and shape rule, all without torch.

Not here: how torch carries an op out (`realise`), and how an `nn.Module` is read (`capture`).
"""
