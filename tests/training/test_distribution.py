"""How processes find each other, and what each says when another is lost."""

import contextlib
import pathlib
import re
import shlex
import signal
import socket
import threading

import keras
import pytest
import yaml

from keras_nonlocal import cli
from keras_nonlocal.training import distribution, lifeline, rendezvous
from keras_nonlocal.training.lifeline import Lifeline

CLUSTER = pathlib.Path(__file__).parents[2] / "examples" / "cluster"
SLURM = ("SLURM_PROCID", "SLURM_JOB_NODELIST", "SLURM_STEP_NODELIST", "SLURM_JOB_ID")


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    for name in (*SLURM, "JOB_COMPLETION_INDEX"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def on_jax(monkeypatch):
    """`join` up to the point where it needs JAX itself."""
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")


def test_one_process_is_left_as_it_is():
    assert distribution.join(1) == distribution.Process(0, 1)
    assert (distribution.process_count(), distribution.process_id()) == (1, 0)
    assert distribution.is_chief()
    distribution.barrier("nobody to wait for")
    with pytest.raises(KeyError), distribution.guarded("advice"):
        raise KeyError


@pytest.mark.parametrize("count", [0, -1, 2.0, None])
def test_a_count_that_is_none_is_refused(count):
    with pytest.raises(ValueError, match="`num_processes` must be a positive integer. Received: "):
        distribution.join(count)


def test_tensorflow_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="(?s)need the JAX backend.*KERAS_BACKEND=jax before"):
        distribution.join(2, 0, "localhost:8476")


WRONG = {
    "no_id": ((2, None, "a:1"), "`process_id` must say which .*Pass a number from 0 to 1"),
    "id_too_large": ((2, 2, "a:1"), "`process_id` must lie between 0 and 1, .*process_id=2"),
    "id_no_integer": ((2, "1", "a:1"), "`process_id` must lie between .*process_id='1'"),
    "no_coordinator": ((2, 1, None), '`coordinator` must say where .*Pass "host:port"'),
    "no_port": ((2, 1, "node01"), "`coordinator` must be .*Received: coordinator='node01'"),
    "port_too_large": ((2, 1, "node01:65536"), "`coordinator` must be .*port from 1 to 65535"),
    "no_host": ((2, 1, ":80"), "`coordinator` must be "),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_mistakes_are_told(on_jax, arguments, message):
    with pytest.raises(ValueError, match=message):
        distribution.join(*arguments)


def test_a_port_that_is_taken_is_told(on_jax):
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on port {port} of `coordinator`"):
            distribution.join(2, 0, f"localhost:{port}")


def test_a_missing_coordinator_is_told(on_jax):
    with pytest.raises(TimeoutError, match="Process 0 was not there within 0.1 seconds: `coord"):
        distribution.join(2, 1, f"localhost:{distribution._free_port()}", timeout=0.1)


NODES = {
    "one": ("node7", "node7"),
    "two": ("a,b", "a"),
    "range": ("node[001-004],x", "node001"),
    "list": ("gpu-[07,9-12]", "gpu-07"),
    "tail": ("rack[1-2]-gpu,x[3-4]", "rack1-gpu"),
    "dotted": ("n1.example.org,n2.example.org", "n1.example.org"),
}


@pytest.mark.parametrize(("nodes", "first"), NODES.values(), ids=NODES)
def test_slurm_tells_the_coordinator(monkeypatch, nodes, first):
    monkeypatch.setenv("SLURM_JOB_NODELIST", nodes)
    monkeypatch.setenv("SLURM_JOB_ID", "4099")
    assert distribution._find_coordinator(None) == (first, 61443)
    assert distribution._find_coordinator("[::1]:80") == ("::1", 80)


@pytest.mark.parametrize("name", ["SLURM_PROCID", "JOB_COMPLETION_INDEX"])
def test_the_cluster_tells_the_number(monkeypatch, name):
    monkeypatch.setenv(name, "3")
    assert distribution._find_process_id(None, 4) == 3
    assert distribution._find_process_id(1, 4) == 1


def meet(others, count=3, timeout=2.0):
    """Process 0 gathers, while `others` come, pairs of number and count. Gives what all got."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        results = [None] * (len(others) + 1)

        def attempt(place, function, *arguments):
            try:
                results[place] = function(*arguments)
            except (TimeoutError, ValueError) as error:
                results[place] = error

        threads = [
            threading.Thread(target=attempt, args=(place, rendezvous.reach, address, *other, 5.0))
            for place, other in enumerate(others, start=1)
        ]
        for thread in threads:
            thread.start()
        attempt(0, rendezvous.gather, server, count, {"port": 7}, timeout)
        for thread in threads:
            thread.join()
    for result in results:
        for peer in result.values() if isinstance(result, dict) else (result,):
            if isinstance(peer, tuple):
                peer[0].close()
            elif isinstance(peer, socket.socket):
                peer.close()
    return results


def test_all_meet_and_are_told_the_answer():
    peers, *others = meet([(2, 3), (1, 3)])
    assert sorted(peers) == [1, 2]
    assert [answer for _, answer in others] == [{"port": 7}] * 2


def test_those_that_are_missing_are_named_everywhere():
    for error in meet([(2, 5)], count=5, timeout=0.5):
        assert isinstance(error, TimeoutError)
        assert "Not all of 5 processes came within 0.5 seconds. Missing: 1, 3, 4." in str(error)


def test_different_counts_are_told_everywhere():
    for error in meet([(1, 4)]):
        assert isinstance(error, ValueError)
        assert "Received: 4 in process 1, 3 in process 0." in str(error)


def test_the_same_number_twice_is_told():
    error = meet([(1, 3), (1, 3)])[0]
    assert isinstance(error, ValueError)
    assert "`process_id` must differ between processes. Received: 1 twice." in str(error)


def test_other_programs_at_the_port_are_passed_over():
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as scanner:
            scanner.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with pytest.raises(TimeoutError, match="Missing: 1."):
                rendezvous.gather(server, 2, {}, 0.3)


def test_a_port_of_another_program_is_told():
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].close()).start()
        with pytest.raises(TimeoutError, match="Is it the port of another program?"):
            rendezvous.reach(server.getsockname(), 1, 2, 5.0)


def test_a_relay_stays_open_when_the_other_side_goes_away():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = rendezvous.relayed(server.getsockname())
        with socket.create_connection(("127.0.0.1", port)) as near:
            far = server.accept()[0]
            near.sendall(b"there")
            assert far.recv(5) == b"there"
            far.sendall(b"back")
            assert near.recv(4) == b"back"
            far.close()
            near.settimeout(0.3)
            with pytest.raises(TimeoutError):
                near.recv(1)


@pytest.fixture
def three():
    """Lifelines of three processes, of which the first is connected to the others."""
    pairs = [socket.socketpair(socket.AF_UNIX) for _ in range(2)]
    # As over a network, but for the options that keep TCP alive.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lifeline, "KEEP_ALIVE", {})
        lines = [
            Lifeline(0, 3, {1: pairs[0][0], 2: pairs[1][0]}),
            Lifeline(1, 3, {0: pairs[0][1]}),
            Lifeline(2, 3, {0: pairs[1][1]}),
        ]
    yield lines
    for line in lines:
        lose(line)
    for line in lines:
        assert line.lost.wait(5)
    for pair in pairs:
        for end in pair:
            end.close()


def lose(line):
    """What becomes of the connections of a process that is killed; it says nothing more."""
    line.tell = lambda **message: None
    for peer in line.peers.values():
        with contextlib.suppress(OSError):  # lost before
            peer.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("lost", [0, 1])
def test_all_others_learn_who_is_lost(three, lost):
    lose(three[lost])
    for index in {0, 1, 2} - {lost}:
        assert three[index].lost.wait(5)
        expected = f"Process {lost} of 3 is lost (its connection closed). This one, number {index},"
        assert three[index].describe().startswith(expected)


def test_an_error_of_a_collective_becomes_the_loss(three):
    message = "Process 2 of 3 is lost .* number 1, stops. Go on from 7.$"
    with pytest.raises(ConnectionError, match=message) as caught:
        with three[1].guard(lambda: "Go on from 7."):
            lose(three[2])
            raise ValueError("Gloo all-reduce failed")
    assert isinstance(caught.value.__cause__, ValueError)
    assert three[1].status == lifeline.TRY_AGAIN


def test_an_error_of_ones_own_is_told_to_the_others(three, monkeypatch):
    monkeypatch.setattr(lifeline, "SETTLING", 0.05)
    with pytest.raises(KeyError), three[1].guard(""):
        raise KeyError("a video")
    assert three[1].status == 1
    for index in (0, 2):
        assert three[index].lost.wait(5)
        assert "Process 1 of 3 is lost (it stopped with KeyError: 'a video')" in (
            three[index].describe()
        )


def test_an_end_by_a_signal_is_the_status_of_the_process(three, monkeypatch):
    stopped = KeyboardInterrupt()
    stopped.signal = signal.SIGTERM
    with pytest.raises(KeyboardInterrupt), three[1].guard(""):
        raise stopped
    assert three[1].status == 143
    assert three[0].lost.wait(5) and three[2].lost.wait(5)


def test_a_process_that_waits_for_the_lost_one_is_ended(three, monkeypatch, capsys):
    ended, statuses = threading.Event(), []
    monkeypatch.setattr(lifeline, "PATIENCE", 0.05)
    monkeypatch.setattr(lifeline.os, "_exit", lambda status: (statuses.append(status), ended.set()))
    with pytest.raises(ConnectionError), three[2].guard("Go on."):
        lose(three[0])
        assert ended.wait(5)  # A collective would not come back.
        raise ValueError
    assert statuses == [lifeline.TRY_AGAIN]
    assert capsys.readouterr().err == (
        "Process 0 of 3 is lost (its connection closed). This one, number 2, stops. Go on.\n"
    )


def test_a_process_that_is_done_is_not_lost(three):
    with three[1].guard(""):
        pass
    three[1].end()
    assert not three[0].lost.wait(0.2)
    lose(three[2])
    assert three[0].lost.wait(5)
    assert "Process 2 of 3" in three[0].reason


def test_a_process_that_ends_before_its_training_is_lost(three):
    three[1].end()
    assert three[0].lost.wait(5)
    with pytest.raises(ConnectionError, match="Process 1 of 3 is lost"), three[0].guard(""):
        raise AssertionError("does not come here")


def commands():
    """The command lines of the examples, as lists of words."""
    script = (CLUSTER / "train.sbatch").read_text().replace("\\\n", " ")
    line = re.search(r"keras-nonlocal (.*?) &&", script)[1]
    yield shlex.split(line.replace('"$SLURM_NTASKS"', "16"))
    _, job = yaml.safe_load_all((CLUSTER / "train-job.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    yield container["command"][1:]
    readme = (CLUSTER / "README.md").read_text()
    yield shlex.split(re.search(r'train="keras-nonlocal (.*)"', readme)[1])


@pytest.mark.parametrize("words", list(commands()), ids=["slurm", "kubernetes", "by_hand"])
def test_the_commands_of_the_examples_are_understood(words):
    chosen = cli._build_parser(words).parse_args(words)
    assert chosen.num_processes in (2, 16)
    assert chosen.batch_size is None or chosen.batch_size % 16 == 0


def test_the_kubernetes_job_names_its_service():
    service, job = yaml.safe_load_all((CLUSTER / "train-job.yaml").read_text())
    name, pod = job["metadata"]["name"], job["spec"]["template"]["spec"]
    words = pod["containers"][0]["command"]
    assert service["spec"]["selector"] == {"job-name": name}
    assert service["metadata"]["name"] == pod["subdomain"]
    assert f"--coordinator={name}-0.{pod['subdomain']}:8476" in words
    assert f"--num-processes={job['spec']['completions']}" in words
