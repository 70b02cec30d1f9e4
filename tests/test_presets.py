"""Presets are read as rl_zoo3 writes them; what is not understood is refused by name."""

import inspect

import pytest
import stable_baselines3
import yaml

from synthenv import presets, shelf
from synthenv.presets import Preset

SHIPPED = sorted((shelf.root("agents") / "hyperparameters").glob("*.yml"))


def read(tmp_path, text):
    path = tmp_path / "ppo.yml"
    path.write_text(text)
    return presets.read(path, "Synth-A-v0", stable_baselines3.PPO)


def test_a_preset_is_budget_and_settings(tmp_path):
    text = "Synth-A-v0: {n_timesteps: !!float 1e4, n_envs: 4, policy: MlpPolicy, policy_kwargs: {net_arch: [8]}}"
    settings = {"policy": "MlpPolicy", "policy_kwargs": {"net_arch": [8]}}
    assert read(tmp_path, text) == Preset(10_000, 4, settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Synth-B-v0: {}", "no environment is called 'Synth-A-v0'; did you mean 'Synth-B-v0'"),
        ("Synth-A-v0: {gama: 0.9}", "no PPO hyperparameter is called 'gama'; did you mean 'gamma'"),
        ("Synth-A-v0: {normalize: true}", "no PPO hyperparameter is called 'normalize'"),
        ("Synth-A-v0: {learning_rate: lin_0.001}", "expected a number for learning_rate, got 'lin_0.001'"),
        ("[1, 2]", "should map environment ids"),
        ("Synth-A-v0: {", "is not valid YAML"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=r"ppo\.yml") as error:
        read(tmp_path, text)
    assert message in str(error.value)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_presets_are_the_defaults_of_stable_baselines3(path):
    algorithm = getattr(stable_baselines3, path.stem.upper())
    defaults = {name: argument.default for name, argument in inspect.signature(algorithm).parameters.items()}
    for environment in yaml.safe_load(path.read_text()):
        preset = presets.read(path, environment, algorithm)
        assert preset.settings.pop("policy") == "MlpPolicy"
        assert preset.settings == {name: defaults[name] for name in preset.settings}
