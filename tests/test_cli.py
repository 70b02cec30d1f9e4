"""Every command does what it says, and says in one line what is wrong with its input."""

import json
import shutil
import subprocess
import sys
import warnings

import gymnasium
import pytest
import yaml

from synthenv import cli, commands, meta, shelf
from synthenv.artifact import load
from synthenv.scores import Trial, write_trials
from tests.conftest import random_artifact


def synthenv(capsys, *arguments):
    """Exit code, output and errors of a command."""
    code = cli.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def environment(tmp_path):
    """The folder of an environment with a price, known to Gymnasium once a command has seen it."""
    folder = random_artifact(tmp_path / "SynthBanditTest-v0", "bandit")
    path = folder / "card.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "real_steps": 9, "seconds": 1, "cpu_seconds": 2}))
    yield folder
    gymnasium.registry.pop(load(folder).recipe.id, None)


@pytest.fixture
def agent(tmp_path, environment, capsys):
    """The folder of an agent that has seen a few steps."""
    folder = tmp_path / "agent"
    code, _, err = synthenv(capsys, "train", "a2c", environment, "--steps", 20, "--episodes", 2, "--out", folder)
    assert (code, err) == (0, "")
    return folder


def test_list_names_what_is_on_the_shelves(capsys):
    code, out, _ = synthenv(capsys, "list")
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert ["id", "task", "form"] in rows
    assert all([name, *map(shelf.card(shelf.find(name)).get, ("target", "form"))] in rows for name in shelf.ids())
    assert set(shelf.ids("agents")) <= {row[0] for row in rows}


def test_a_reader_that_leaves_early_is_no_error():
    command = f"{sys.executable} -c \"import sys; from synthenv.cli import main; sys.exit(main(['list']))\" | exit 0"
    found = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")


def test_show_prints_the_card(capsys, environment):
    code, out, _ = synthenv(capsys, "show", environment)
    assert code == 0
    assert out.startswith("# SynthBanditTest-v0")


def test_show_draws_what_an_environment_teaches(capsys, environment, tmp_path, monkeypatch):
    code, out, _ = synthenv(capsys, "show", environment, "--plot", tmp_path / "a.png")
    assert (code, out) == (0, f"portrait of SynthBanditTest-v0: {tmp_path / 'a.png'}\n")
    monkeypatch.chdir(tmp_path)
    assert synthenv(capsys, "show", environment, "--plot")[0] == 0
    assert (tmp_path / "portrait.png").stat().st_size > 10_000


def test_train_measures_in_the_real_task_and_saves(capsys, environment, tmp_path):
    code, out, _ = synthenv(
        capsys, "train", "dqn", environment, "--steps", 52, "--seed", 3, "--episodes", 2, "--out", tmp_path / "agent"
    )
    assert code == 0
    assert "return in CartPole-v1 over 2 episodes: mean" in out
    card = shelf.card(tmp_path / "agent")
    assert (card["algorithm"], card["target"], card["seed"], card["steps"]) == ("DQN", "CartPole-v1", 3, 52)
    assert card["scores"]["n"] == 2


def test_train_refuses_a_folder_before_it_trains(capsys, environment, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = synthenv(capsys, "train", "a2c", environment, "--out", ".")
    assert (code, out) == (2, "")
    assert "the folder that this process works in; choose another" in err


def test_train_follows_a_preset(capsys, environment, tmp_path):
    preset = {"n_timesteps": 24, "n_envs": 2, "policy": "MlpPolicy", "n_steps": 4, "gamma": 0.9}
    path = tmp_path / "a2c.yml"
    path.write_text(yaml.safe_dump({"SynthBanditTest-v0": preset}))
    arguments = ("train", "a2c", environment, "--episodes", 2, "--out", tmp_path / "agent")
    assert synthenv(capsys, *arguments, "--hyperparameters", path, "--tensorboard", tmp_path / "log")[0] == 0
    config = json.loads((tmp_path / "agent" / "config.json").read_text())
    assert config["hyperparameters"] == {"n_steps": 4, "gamma": 0.9}
    assert shelf.card(tmp_path / "agent")["steps"] == 24
    assert list((tmp_path / "log").rglob("events.out.tfevents.*"))


def test_train_follows_rl_zoo3_in_continuous_tasks(capsys, tmp_path):
    folder = random_artifact(tmp_path / "SynthBanditTest-v1", "bandit", target="Pendulum-v1")
    preset = {"n_timesteps": 64, "n_steps": 32, "batch_size": 32, "normalize": True, "use_sde": True}
    (tmp_path / "ppo.yml").write_text(
        yaml.safe_dump({"SynthBanditTest-v1": {**preset, "policy_kwargs": "dict(log_std_init=-2, ortho_init=False)"}})
    )
    arguments = ("train", "ppo", folder, "--episodes", 2, "--hyperparameters", tmp_path / "ppo.yml")
    code, out, err = synthenv(capsys, *arguments, "--out", tmp_path / "agent")
    gymnasium.registry.pop("SynthBanditTest-v1")
    assert (code, err) == (0, "")
    assert "return in Pendulum-v1 over 2 episodes: mean -" in out
    scores = shelf.card(tmp_path / "agent")["scores"]
    again = synthenv(capsys, "evaluate", tmp_path / "agent", "Pendulum-v1", "--episodes", 2, "--seed", 1)[1]
    assert f"mean {scores['mean']:.1f}, " in again


def test_what_train_saves_is_what_evaluate_is_told(capsys, environment, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert synthenv(capsys, "train", "A2C", environment, "--steps", 20, "--episodes", 2)[0] == 0
    assert synthenv(capsys, "evaluate", "runs/a2c-SynthBanditTest-v0", "CartPole-v1", "--episodes", 2)[0] == 0
    code, _, err = synthenv(capsys, "evaluate", "runs/A2C-synthbandittest-v0", "CartPole-v1")
    absent = "synthenv: there is no agent's folder at runs/A2C-synthbandittest-v0; did you mean "
    assert (code, err) == (2, f"{absent}'runs/a2c-SynthBanditTest-v0'?\n")


def test_an_environment_made_again_takes_the_place_of_the_one_before(environment, tmp_path):
    again = shutil.copytree(environment, tmp_path / "again")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for folder in (environment, again):
            name, target = commands.known(str(folder))
            assert (name, target) == ("SynthBanditTest-v0", "CartPole-v1")
            assert gymnasium.spec(name).kwargs["artifact"] == str(folder.resolve())


def test_contrib_is_asked_for_by_name(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    code, _, err = synthenv(capsys, "train", "trpo", "CartPole-v1")
    assert (code, err) == (2, "synthenv: trpo is of sb3-contrib, which is not installed: pip install sb3-contrib\n")


def test_evaluate_repeats_what_train_measured(capsys, agent):
    scores = shelf.card(agent)["scores"]
    code, out, _ = synthenv(capsys, "evaluate", agent, "CartPole-v1", "--episodes", 2, "--seed", 1)
    assert code == 0
    assert f"mean {scores['mean']:.1f}" in out


def test_evaluate_records_a_video(capsys, agent, tmp_path):
    arguments = ("evaluate", agent, "CartPole-v1", "--episodes", 1, "--video", tmp_path / "video")
    assert synthenv(capsys, *arguments)[0] == 0
    (video,) = (tmp_path / "video").glob("*.mp4")
    assert video.stat().st_size > 1_000


def test_a_video_of_a_task_that_shows_no_list(tmp_path):
    class Reader:
        """Was trained on lists of 16 numbers."""

        observation_space = gymnasium.spaces.Box(0, 1, (16,))

        def predict(self, observation, state, episode_start, deterministic):
            assert observation.shape == (16,)
            assert episode_start.tolist() == [state is None], "of the agents that have a memory, theirs is kept"
            return 0, 1

    commands.record(Reader(), "FrozenLake-v1", tmp_path / "video", seed=0)
    assert list((tmp_path / "video").glob("*.mp4"))


def test_evaluate_names_the_extra_that_video_needs(capsys, agent, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "moviepy", None)
    code, _, err = synthenv(capsys, "evaluate", agent, "CartPole-v1", "--video", tmp_path / "video")
    assert code == 2
    assert "pip install 'synthenv[video]'" in err


def test_card_rewrites_an_agent_and_an_environment(capsys, agent, environment, tmp_path):
    assert synthenv(capsys, "card", agent) == (0, f"{agent / 'README.md'}\n", "")
    assert "A2C after 20 steps in SynthBanditTest-v0" in (agent / "README.md").read_text()
    trials = [Trial("SynthBanditTest-v0", "PPO", 10, seed, 5, 100.0 + seed, 1.0) for seed in range(3)]
    write_trials(tmp_path / "transfer.csv", trials)
    assert synthenv(capsys, "card", environment, "--results", tmp_path / "transfer.csv")[0] == 0
    assert shelf.card(environment)["scores"][0]["mean"] == 101


def test_card_rewrites_the_shelf_of_agents(capsys, agent, tmp_path):
    agents = tmp_path / "agents"
    agents.mkdir()
    shutil.move(agent, agents / "agent")
    (agents / "hyperparameters").mkdir()
    (agents / "hyperparameters" / "a2c.yml").touch()
    code, out, _ = synthenv(capsys, "card", agents)
    assert (code, out.split()) == (0, [str(agents / "agent" / "README.md"), str(agents / "README.md")])
    text = (agents / "README.md").read_text()
    assert "[a2c](hyperparameters/a2c.yml)" in text
    assert "| [agent](agent) | A2C | SynthBanditTest-v0 | CartPole-v1 |" in text


def test_evolve_makes_an_environment_from_a_recipe(capsys, tmp_path):
    recipe = {
        "id": "SynthBanditMade-v0",
        "target": "CartPole-v1",
        "greedy": {"search": {"population": 8, "generations": 2}, "episodes": 1},
        "states": {"updates": 2, "episodes": 4},
        "inner": {"enabled": False},
        "exam": {"agents": 0},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    arguments = ("evolve", tmp_path / "recipe.yaml", "--out", tmp_path / "made", "--log", tmp_path / "log")
    code, out, err = synthenv(capsys, *arguments, "--workers", 1)
    assert code == 0, err
    assert "SynthBanditMade-v0: " in out
    assert " steps of CartPole-v1, " in out
    assert load(tmp_path / "made").recipe.id == "SynthBanditMade-v0"
    assert (tmp_path / "made" / "README.md").is_file()


def test_evolve_for_a_target_takes_the_default_recipe(capsys, tmp_path, monkeypatch):
    asked = {}

    def evolve(recipe, folder, **options):
        asked.update(recipe=recipe, folder=folder, **options)
        raise ValueError("far enough")

    monkeypatch.setattr(meta, "evolve", evolve)
    code, _, err = synthenv(capsys, "evolve", "--target", "CartPole-v1", "--form", "mdp", "--resume", "--workers", 2)
    assert (code, err) == (2, "synthenv: far enough\n")
    assert asked["recipe"] == meta.default_recipe("CartPole-v1", "mdp")
    assert (asked["resume"], asked["workers"]) == (True, 2)


@pytest.fixture
def my_task(tmp_path, monkeypatch):
    """The name of a task whose module lies where the command is called, and nowhere else."""
    code = "import gymnasium\nfrom tests.own_task import Swing\n"
    code += "gymnasium.register('MySwing-v0', Swing, max_episode_steps=9, kwargs={'pause': 0.0})\n"
    (tmp_path / "my_own_swing.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "my_own_swing:MySwing-v0"
    del sys.modules["my_own_swing"], gymnasium.registry["MySwing-v0"]


def test_a_task_in_a_file_that_lies_here(capsys, my_task, tmp_path, monkeypatch):
    """As with python -m; for everything that takes a task."""
    asked = []

    def evolve(recipe, folder, **options):
        asked.append((recipe.id, recipe.target))
        raise ValueError("far enough")

    monkeypatch.setattr(meta, "evolve", evolve)
    assert synthenv(capsys, "evolve", "--target", my_task) == (2, "", "synthenv: far enough\n")
    assert asked == [("SynthBandit-MySwing-v0", my_task)]
    code, out, err = synthenv(capsys, "train", "a2c", my_task, "--steps", 20, "--episodes", 2, "--out", "agent")
    assert (code, err) == (0, "")
    assert f"return in {my_task} over 2 episodes: mean -9.0" in out
    assert shelf.card(tmp_path / "agent")["target"] == my_task
    code, out, _ = synthenv(capsys, "evaluate", "agent", my_task, "--episodes", 2)
    assert code == 0
    assert f"return in {my_task} over 2 episodes: mean -9.0" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "Synth-CartPole-v9"], "no environment is called 'Synth-CartPole-v9'"),
        (["train", "ppoo", "CartPole-v1"], "did you mean 'ppo'?"),
        (["train", "ppo", "CartPol-v1"], "no environment is called 'CartPol-v1'"),
        (["train", "sac", "CartPole-v1"], "SAC cannot be trained in CartPole-v1: "),
        (["train", "ppo", "nowhere:CartPole-v1"], "nowhere:CartPole-v1 asks for the module nowhere, but: No module"),
        (["train", "ppo", "tests.own_task:Swim-v0"], "no environment is called 'tests.own_task:Swim-v0'"),
        (["evolve", "--target", "nowhere:CartPole-v1"], "install it, or put its folder on PYTHONPATH"),
        (["train", "ppo", "CartPole-v1", "--hyperparameters", "none.yml"], "none.yml"),
        (["evaluate", "nobody", "CartPole-v1"], "no agent is called 'nobody'"),
        (["evaluate", "runs/nobody", "CartPole-v1"], "there is no agent's folder at runs/nobody"),
        (["train", "ppo", "envs/synth-CartPole-v0"], "did you mean 'envs/Synth-CartPole-v0'?"),
        (["evolve", "none.yaml"], "no recipe at none.yaml; synthenv evolve --target ID needs none"),
        (["evolve", "envs/Synth-CartPole-v0"], "a folder; its recipe is envs/Synth-CartPole-v0/recipe.yaml"),
        (["evolve", "--context", "none.npz"], "no transitions at none.npz; synthenv imagine ID collects some"),
        (["pretrain", "none.yaml"], "no recipe at none.yaml; copy one from the folders in models/"),
        (["rank", "--runs", "none.csv", "--task", "mine"], "no runs at none.csv; expected a CSV file with the columns"),
        (["imagine", "CartPole-v1", "--algo", "evolv"], "did you mean 'evolve'?"),
        (["imagine", "CartPole-v1", "--algo", "evolve", "--hyperparameters", "a.yml"], "evolve takes none"),
        (["card", "."], "expected an environment, an agent, or a shelf"),
    ],
)
def test_bad_input_is_told_in_one_line(capsys, arguments, message):
    code, _, err = synthenv(capsys, *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian", "ppo", "CartPole-v1"], "no command is called 'trian'; did you mean 'train'?"),
        (["train", "ppo", "CartPole-v1", "--stpes", "5"], "unrecognized arguments: --stpes 5; did you mean '--steps'?"),
        (["train", "ppo", "CartPole-v1", "--step=5"], "unrecognized arguments: --step=5; did you mean '--steps'?"),
        (["evolve", "--tagret", "CartPole-v1"], "did you mean '--target'?"),
        (["evolve", "--target", "CartPole-v1", "--form", "mpd"], "did you mean 'mdp'?"),
        (["list", "envs"], "unrecognized arguments: envs; see synthenv list --help"),
    ],
)
def test_what_no_command_knows_is_told_with_what_is_near(capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "-3", "1.5"])
def test_budgets_are_positive_whole_numbers(capsys, text):
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", "ppo", "CartPole-v1", "--steps", text])
    assert stop.value.code == 2
    assert "expected a positive whole number" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["list", "show", "demo", "evolve", "train", "evaluate", "card"])
def test_every_command_helps_with_an_example(capsys, command):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    assert f"example: synthenv {command}" in capsys.readouterr().out


def test_python_m_is_the_command():
    found = subprocess.run([sys.executable, "-m", "synthenv", "--version"], capture_output=True, text=True, check=True)
    assert found.stdout.startswith("synthenv ")
