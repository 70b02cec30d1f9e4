"""Presets are read as rl_zoo3 writes them; what is not understood is refused by name."""

import inspect
import json

import pytest
import stable_baselines3
import yaml
from gymnasium.spaces import Discrete

from synthenv import artifact, presets, shelf
from synthenv.presets import Preset
from synthenv.sb3 import train
from tests.conftest import random_artifact

SHIPPED = sorted((shelf.root("agents") / "hyperparameters").glob("*.yml"))


def read(tmp_path, text):
    path = tmp_path / "ppo.yml"
    path.write_text(text)
    return presets.read(path, "Synth-A-v0", stable_baselines3.PPO)


def test_a_preset_is_budget_and_settings(tmp_path):
    text = "Synth-A-v0: {n_timesteps: !!float 1e4, n_envs: 4, policy: MlpPolicy, policy_kwargs: {net_arch: [8]}}"
    settings = {"policy": "MlpPolicy", "policy_kwargs": {"net_arch": [8]}}
    assert read(tmp_path, text) == Preset(10_000, 4, settings)


def test_rl_zoo3s_own_words_are_read(tmp_path):
    words = "dict(log_std_init=-2, net_arch=[dict(pi=[64], vf=(8, 8))], activation_fn=nn.ReLU, ortho_init=False)"
    text = f'Synth-A-v0: {{normalize: "{{\'norm_obs\': False}}", clip_range: lin_0.2, policy_kwargs: "{words}"}}'
    assert read(tmp_path, text).settings == {
        "normalize": {"norm_obs": False},
        "clip_range": "lin_0.2",
        "policy_kwargs": {
            "log_std_init": -2,
            "net_arch": [{"pi": [64], "vf": [8, 8]}],
            "activation_fn": "nn.ReLU",
            "ortho_init": False,
        },
    }


def test_words_stand_where_the_default_is_one(tmp_path):
    path = tmp_path / "sac.yml"
    path.write_text("Synth-A-v0: {ent_coef: auto_0.1, train_freq: [1, episode], normalize: true}")
    expected = {"ent_coef": "auto_0.1", "train_freq": [1, "episode"], "normalize": True}
    assert presets.read(path, "Synth-A-v0", stable_baselines3.SAC).settings == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Synth-B-v0: {}", "no environment is called 'Synth-A-v0'; did you mean 'Synth-B-v0'"),
        ("Synth-A-v0: {gama: 0.9}", "no PPO hyperparameter is called 'gama'; did you mean 'gamma'"),
        ("Synth-A-v0: {frame_stack: 4}", "no PPO hyperparameter is called 'frame_stack'"),
        ("Synth-A-v0: {gamma: lin_0.9}", "expected a number for gamma, got 'lin_0.9'"),
        ("Synth-A-v0: {learning_rate: log_0.1}", "expected a number, or a schedule like lin_0.001, for learning_rate"),
        ("Synth-A-v0: {learning_rate: lin_fast}", "expected a number, or a schedule like lin_0.001, for learning_rate"),
        ("Synth-A-v0: {normalize: {norm_ops: true}}", "no argument of normalize is called 'norm_ops'; did you mean"),
        ("Synth-A-v0: {normalize: 3}", "expected a mapping for normalize, got 3"),
        ("Synth-A-v0: {policy_kwargs: true}", "expected a mapping for policy_kwargs, got True"),
        ("Synth-A-v0: {policy_kwargs: 'dict(a=open(1))'}", "malformed"),
        ("Synth-A-v0: {policy_kwargs: 'dict('}", "was never closed"),
        ("[1, 2]", "should map environment ids"),
        ("Synth-A-v0: {", "is not valid YAML"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=r"ppo\.yml") as error:
        read(tmp_path, text)
    assert message in str(error.value)


def shipped():
    """Every preset that ships: algorithm, environment."""
    return [(path.stem, environment) for path in SHIPPED for environment in yaml.safe_load(path.read_text())]


def of_rl_zoo3(algorithm, environment):
    """Whether a preset is rl_zoo3's for the task instead of the algorithm's defaults."""
    return algorithm in ("ppo", "a2c") and ("Continuous" in environment or "Pendulum" in environment)


def preset_of(algorithm, environment):
    kind = getattr(stable_baselines3, algorithm.upper())
    return kind, presets.read(shelf.root("agents") / "hyperparameters" / f"{algorithm}.yml", environment, kind)


@pytest.mark.parametrize(("algorithm", "environment"), shipped())
def test_a_shipped_preset_is_what_its_file_says(algorithm, environment):
    kind, preset = preset_of(algorithm, environment)
    defaults = {name: argument.default for name, argument in inspect.signature(kind).parameters.items()}
    assert preset.settings.pop("policy") == "MlpPolicy"
    if of_rl_zoo3(algorithm, environment):
        assert preset.settings["use_sde"]
        assert preset.steps <= 50_000
    else:
        assert preset.settings == {name: defaults[name] for name in preset.settings}
        assert preset.steps <= 10_000
    assert json.loads(json.dumps(preset.settings)) == preset.settings


@pytest.mark.parametrize(("algorithm", "environment"), [pair for pair in shipped() if of_rl_zoo3(*pair)])
def test_rl_zoo3s_presets_can_be_trained_with(algorithm, environment, tmp_path):
    _, preset = preset_of(algorithm, environment)
    place = random_artifact(tmp_path / "Some-v0", "bandit", target="Pendulum-v1")
    settings = {**preset.settings, "n_steps": 8, "batch_size": 8} if algorithm == "ppo" else preset.settings
    model = train(algorithm, place, 1, seed=0, hyperparameters=settings, n_envs=preset.n_envs)
    assert (model.get_vec_normalize_env() is not None) == preset.settings.get("normalize", False)
    assert model.gamma == preset.settings.get("gamma", 0.99)


@pytest.mark.parametrize("environment", shelf.ids())
def test_every_environment_that_ships_has_its_presets(environment):
    actions = artifact.action_space(shelf.card(shelf.find(environment)))
    for algorithm in ("ppo", "a2c", *(("dqn",) if isinstance(actions, Discrete) else ("sac", "td3", "ddpg"))):
        assert (algorithm, environment) in shipped()
