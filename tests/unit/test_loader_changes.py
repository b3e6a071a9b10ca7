from morph_kernels.loader.changes import Changes


def test_a_name_of_which_nothing_was_told_is_settled():
    assert Changes().is_settled("ffn_gelu")


def test_a_change_holds_until_a_server_was_asked_after_it():
    changes = Changes()
    before = changes.now()
    changes.tell("ffn_gelu")
    assert not changes.is_settled("ffn_gelu")
    assert changes.is_settled("other")
    changes.settle("ffn_gelu", before)
    assert not changes.is_settled("ffn_gelu")
    changes.settle("ffn_gelu", changes.now())
    assert changes.is_settled("ffn_gelu")


def test_a_change_of_everything_is_one_of_every_name_whether_known_or_not():
    changes = Changes()
    changes.tell("ffn_gelu")
    changes.settle("ffn_gelu", changes.now())
    changes.tell_all()
    assert not changes.is_settled("ffn_gelu")
    assert not changes.is_settled("other")
    changes.settle("other", changes.now())
    assert changes.is_settled("other")


def test_a_late_answer_does_not_undo_a_later_one():
    changes = Changes()
    early = changes.now()
    changes.tell("ffn_gelu")
    changes.settle("ffn_gelu", changes.now())
    changes.settle("ffn_gelu", early)
    assert changes.is_settled("ffn_gelu")


def test_a_server_that_names_without_end_takes_no_memory_without_end():
    changes = Changes()
    for number in range(30_001):
        changes.tell(f"name_{number}")
    assert len(changes._changed_at) <= 10_000
    assert not changes.is_settled("name_0")
    assert not changes.is_settled("name_30000")
