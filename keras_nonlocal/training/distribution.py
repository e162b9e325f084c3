"""Several processes that train one network together, on one machine or many.

They are Keras' own distribution on JAX: every process holds all of the weights and its share of
each batch, gradients and batch statistics are those of the whole batch.
"""

import atexit
import contextlib
import dataclasses
import logging
import os
import re
import socket

import keras

from keras_nonlocal.training import rendezvous
from keras_nonlocal.training.lifeline import Lifeline

# One a process; what `join` made of it.
_lifeline = None


@dataclasses.dataclass(frozen=True)
class Process:
    """What `join` found out.

    Attributes:
        index: number of this process, from 0; number 0 is the chief, the one that writes.
        count: number of processes.
        local_devices: names of the devices of this process; `()` for a process alone on
            TensorFlow, or with one device.
    """

    index: int
    count: int
    local_devices: tuple[str, ...] = ()


def join(num_processes, process_id=None, coordinator=None, timeout=300.0):
    """Makes this process one of several that train together.

    Call it in each of them before anything else is computed, and before the model is built.
    Afterwards Keras divides batches over all devices of all processes, and `training_clips` reads
    the share of this one. Put the training itself inside `guarded`. On JAX a process alone divides
    its batches over all of its devices as well; on TensorFlow it is left as it is.

    Under Slurm and in indexed jobs of Kubernetes, what is not given comes from the environment.

    Args:
        num_processes: integer, how many there are.
        process_id: integer from 0, the number of this one. `None`: `SLURM_PROCID`, or
            `JOB_COMPLETION_INDEX`.
        coordinator: `"host:port"` of process 0, as the others reach it: it listens on that port, on
            all addresses of its machine. `None`: the first machine of `SLURM_STEP_NODELIST` or
            `SLURM_JOB_NODELIST`, with a port made of the job's number.
        timeout: seconds to wait for the others.

    Returns:
        A `Process`.

    Raises:
        ValueError: if an argument is wrong or missing, the backend is not JAX, or the processes
            disagree on their number.
        RuntimeError: if JAX has computed before, or the process has joined before.
        OSError: if process 0 cannot listen on the port.
        TimeoutError: if not all came in time; it names those that are missing.

    Example:

    >>> from keras_nonlocal.training import distribution
    >>> distribution.join(1)
    Process(index=0, count=1, local_devices=())
    """
    global _lifeline
    if not isinstance(num_processes, int) or num_processes < 1:
        raise ValueError(
            "`num_processes` must be a positive integer. "
            f"Received: num_processes={num_processes!r}. A process alone is 1."
        )
    if num_processes == 1:
        return _join_alone()
    if keras.backend.backend() != "jax":
        raise ValueError(
            "Several processes need the JAX backend. Received: "
            f"num_processes={num_processes} with the backend {keras.backend.backend()!r}. Set "
            "KERAS_BACKEND=jax before Keras is imported; the GPUs of one machine work on "
            "TensorFlow too, with tf.distribute.MirroredStrategy."
        )
    index = _find_process_id(process_id, num_processes)
    host, port = _find_coordinator(coordinator)
    if _lifeline is not None:
        raise RuntimeError("`join` was called before. A process joins once.")
    if index == 0:
        server = _listen(port)
        # JAX's service gets a port of its own; the others are told which.
        address = f"127.0.0.1:{_free_port()}"
        answer = {"port": int(address.rpartition(":")[2])}
        with server:
            peers = rendezvous.gather(server, num_processes, answer, timeout)
    else:
        peer, answer = rendezvous.reach((host, port), index, num_processes, timeout)
        peers = {0: peer}
        address = f"127.0.0.1:{rendezvous.relayed((host, answer['port']))}"
    keras.distribution.initialize(address, num_processes, index)
    _use_all_devices()
    _lifeline = Lifeline(index, num_processes, peers)
    # After JAX's own, and so run before it.
    atexit.register(_lifeline.end)

    import jax

    return Process(index, num_processes, tuple(map(str, jax.local_devices())))


def _join_alone():
    if keras.backend.backend() != "jax":
        return Process(0, 1)
    import jax

    if jax.local_device_count() == 1:
        return Process(0, 1)
    _use_all_devices()
    return Process(0, 1, tuple(map(str, jax.local_devices())))


def warn_of_idle_devices():
    """Logs a warning where a process on JAX leaves some of its devices unused."""
    if keras.backend.backend() != "jax" or keras.distribution.distribution() is not None:
        return
    import jax

    if jax.local_device_count() > 1:
        logging.getLogger("keras_nonlocal").warning(
            "One of %s devices is used. `keras_nonlocal.training.distribution.join(1)`, called "
            "before the model is built, uses all.",
            jax.local_device_count(),
        )


def _use_all_devices():
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))


def _find_process_id(process_id, num_processes):
    if process_id is None:
        for name in ("SLURM_PROCID", "JOB_COMPLETION_INDEX"):
            if name in os.environ:
                process_id = int(os.environ[name])
                break
    if process_id is None:
        raise ValueError(
            "`process_id` must say which of the processes this is: neither Slurm's SLURM_PROCID "
            "nor Kubernetes' JOB_COMPLETION_INDEX is set. Received: process_id=None. Pass a number "
            f"from 0 to {num_processes - 1}."
        )
    if not isinstance(process_id, int) or not 0 <= process_id < num_processes:
        raise ValueError(
            f"`process_id` must lie between 0 and {num_processes - 1}, one below "
            f"`num_processes`. Received: process_id={process_id!r}, num_processes={num_processes}."
        )
    return process_id


def _find_coordinator(coordinator):
    if coordinator is None:
        nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_JOB_NODELIST")
        if nodes is None:
            raise ValueError(
                "`coordinator` must say where process 0 is: Slurm's SLURM_JOB_NODELIST is not "
                'set. Received: coordinator=None. Pass "host:port", the same in every process.'
            )
        # The last 4096 ports, as JAX does: jobs on the same machine hardly meet.
        port = 61440 + int(os.environ.get("SLURM_JOB_ID", 0)) % 4096
        return _first_node(nodes), port
    found = re.fullmatch(r"(.+):(\d{1,5})", coordinator) if isinstance(coordinator, str) else None
    if not found or not 0 < int(found[2]) < 65536:
        raise ValueError(
            '`coordinator` must be "host:port" with a port from 1 to 65535. '
            f'Received: coordinator={coordinator!r}. An example is "node01:8476".'
        )
    return found[1].strip("[]"), int(found[2])


def _first_node(nodes):
    """The first of "a,b", "node[001-004,7]" or "rack[1-2]-gpu"."""
    head, number, tail = re.match(r"([^,\[]+)(?:\[(\w+)[^\]]*\])?([^,\[]*)", nodes).groups()
    return head + (number or "") + tail


def _listen(port):
    """A server on all addresses of this machine, both kinds where it has both."""
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        return socket.create_server(
            ("", port), family=family, dualstack_ipv6=both, backlog=socket.SOMAXCONN
        )
    except OSError as error:
        raise OSError(
            error.errno,
            f"Process 0 cannot listen on port {port} of `coordinator` ({error.strerror}). Another "
            "program, perhaps an earlier run, holds it: end that, or choose another port",
        ) from error


def _free_port():
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def _are_several():
    if keras.backend.backend() != "jax":
        return False
    import jax

    # Asked first, because counting processes starts the backend, after which none can join.
    return jax.distributed.is_initialized()


def process_count():
    """Gives the number of processes that train together; 1 for a process alone.

    Returns:
        Integer.
    """
    if not _are_several():
        return 1
    import jax

    return jax.process_count()


def process_id():
    """Gives the number of this process, from 0; 0 for a process alone.

    Returns:
        Integer.
    """
    if not _are_several():
        return 0
    import jax

    return jax.process_index()


def is_chief():
    """Tells whether this is process 0, the one that writes checkpoints and reports.

    Returns:
        Boolean; true for a process alone.

    Example:

    >>> from keras_nonlocal.training import distribution
    >>> distribution.is_chief()
    True
    """
    return process_id() == 0


def barrier(name):
    """Waits until every process has come to the same place.

    What the chief writes before a barrier, others can read after it. All of them must come, in
    the same order; where names differ it is an error.

    Args:
        name: string that names the place.
    """
    if _are_several():
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


@contextlib.contextmanager
def alone():
    """Gives a context for what one process does by itself, such as `model.save` of the chief.

    Variables that Keras makes in it are this process's own. Elsewhere they belong to all of them,
    which must make them together; Keras makes some even where it saves a model.

    Example:

    >>> from keras_nonlocal.training import distribution
    >>> with distribution.alone():
    ...     tuple(keras.Variable([1.0]).shape)
    (1,)
    """
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def guarded(advice=""):
    """Gives a context in which the loss of another process is one clear error.

    A process that was killed is noticed at once, a machine that vanished within 30 seconds; also
    process 0, and also a process that stopped with an error inside its own `guarded`. Then the
    block ends with a `ConnectionError` that names the process. Where it cannot, because it waits
    for the lost one inside a collective, the same line goes to the standard error after 10 seconds
    and the process exits with status 75 (try again later). A process that has left this context
    with an error does not wait for the others at its end; it exits with 75 or, if the error was
    its own, with 1.

    Nothing happens for a process alone.

    Args:
        advice: string, or function that returns it, for the end of the message: where the last
            checkpoint is, and what goes on from it.

    Returns:
        A context manager.

    Example:

    >>> from keras_nonlocal.training import distribution
    >>> with distribution.guarded("The same command goes on from the last checkpoint."):
    ...     distribution.barrier("before the first step")
    """
    return contextlib.nullcontext() if _lifeline is None else _lifeline.guard(advice)
