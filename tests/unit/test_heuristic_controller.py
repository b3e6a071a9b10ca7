from dataclasses import replace

from morph_kernels.training import HeuristicController, Observation, Patience, SeedState, SlotView
from morph_kernels.training.controller import Memory, plan_commands

DORMANT = SlotView(SeedState.DORMANT, 0, 0.0)
FOSSIL = SlotView(SeedState.FOSSILIZED, 3, 1.0)
PATIENCE = Patience(plateau=2, training=2, stabilization=1, fine_tuning=1)


def plan(loss, slots, memory=None):
    seen = Observation(5, loss, slots)
    commands, memory = plan_commands(seen, memory or Memory(), blueprints=["ffn", "gate"], patience=PATIENCE)
    return [(command.slot, command.command, command.blueprint) for command in commands], memory


def test_while_the_loss_falls_nothing_grows():
    memory = Memory()
    for loss in (3.0, 2.0, 1.0, 0.5):
        commands, memory = plan(loss, {"a": DORMANT}, memory)
        assert commands == []


def test_on_a_plateau_the_next_free_slot_germinates_the_next_blueprint():
    stuck = Memory(best=1.0, epochs_since_best=1)
    assert plan(1.0, {"a": FOSSIL, "b": DORMANT}, stuck)[0] == [("b", "germinate", "ffn")]
    later = replace(stuck, germinated_count=1)
    assert plan(1.0, {"a": FOSSIL, "b": DORMANT}, later)[0] == [("b", "germinate", "gate")]
    assert plan(1.0, {"a": FOSSIL}, stuck)[0] == []


def test_one_seed_at_a_time():
    stuck = Memory(best=1.0, epochs_since_best=9)
    training = SlotView(SeedState.TRAINING, 0, 0.0)
    assert plan(1.0, {"a": training, "b": DORMANT}, stuck)[0] == []


def test_a_seed_is_led_from_state_to_state():
    def led(state, epochs, alpha=1.0):
        return [command for _, command, _ in plan(1.0, {"a": SlotView(SeedState(state), epochs, alpha)})[0]]

    assert led("germinated", 0) == ["train"]
    assert led("training", 1) == []
    assert led("training", 2) == ["graft"]
    assert led("grafting", 9, alpha=0.9) == []
    assert led("grafting", 0) == ["stabilize"]
    assert led("stabilization", 1) == ["evaluate"]
    assert led("fine_tuning", 1) == ["fossilize"]


def test_a_graft_that_costs_too_much_is_rolled_back():
    before = Memory(loss_before_graft=1.0)
    evaluating = {"a": SlotView(SeedState.EVALUATING, 0, 1.0)}
    assert plan(1.04, evaluating, before)[0] == [("a", "fine_tune", None)]
    assert plan(1.06, evaluating, before)[0] == [("a", "roll_back", None)]


def test_its_memory_travels():
    controller, other = HeuristicController(["ffn"]), HeuristicController(["ffn"])
    controller.decide(Observation(1, 0.5, {"a": DORMANT}))
    other.load_state_dict(controller.state_dict())
    assert other.memory == controller.memory == Memory(best=0.5)
