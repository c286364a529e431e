"""What ships as the demo: small, live, and honest about itself."""

from omnimouse_model.demo import CHECKPOINT, DEMO_SHOWN, UNSEEN
from omnimouse_model.nets.checkpoint_formats import read_checkpoint
from omnimouse_model.simulate import TRAINING_MICE
from omnimouse_model.train.config import config_path, read_config


def test_the_checkpoint_is_small_of_the_shipped_config_and_knows_its_mice():
    read = read_checkpoint(CHECKPOINT)
    assert CHECKPOINT.stat().st_size <= 20e6
    assert read.sessions[DEMO_SHOWN.data_key] == DEMO_SHOWN.n_neurons >= 1000
    assert len(read.sessions) == len(TRAINING_MICE) >= 8
    assert UNSEEN.data_key not in read.sessions
    assert read.config == read_config(config_path("demo")).model
    assert read.config.hidden_video == "blank"
    assert {key.split(".")[0] for key in read.context} == {DEMO_SHOWN.data_key}
