"""Asks TF Serving over gRPC what videos show.

python examples/serving/grpc_client.py VIDEO... [--address localhost:8500] [--model NAME]

It needs `pip install tensorflow-serving-api`, whose messages bring TensorFlow along. Frames travel
as JPEG, or with `--send pixels` as they are: about twenty times the bytes, and nothing lost.
"""

import argparse

import frames
import grpc
import numpy as np
from tensorflow import make_ndarray, make_tensor_proto
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


def predict(channel, model, signature, inputs, timeout=60):
    """Sends one request.

    Args:
        channel: `grpc.Channel` to the server.
        model: name of the network.
        signature: name of the signature.
        inputs: dict of NumPy arrays, or of lists of bytes.
        timeout: seconds.

    Returns:
        Dict of NumPy arrays.

    Raises:
        grpc.RpcError: with the server's message.
    """
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(make_tensor_proto(value))
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    outputs = stub.Predict(request, timeout).outputs
    return {name: make_ndarray(value) for name, value in outputs.items()}


def make_requests(clips, send):
    """Gives the requests for clips: of JPEG one for several, of pixels one for each.

    Args:
        clips: list of uint8 arrays `(frames, height, width, 3)`.
        send: `"jpeg"` or `"pixels"`.

    Returns:
        List of `(signature, inputs)`.
    """
    if send == "pixels":
        # Videos may differ in size, and the clips of one tensor may not.
        return [("serving_default", {"clips": clip[None]}) for clip in clips]
    encoded = [[frames.encode_jpeg(picture) for picture in clip] for clip in clips]
    return [("jpeg", {"frames": some}) for some in frames.in_requests(encoded)]


def main():
    """Reads the command line, and prints the top classes of each video."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    frames.add_arguments(parser)
    parser.add_argument("--address", default="localhost:8500")
    parser.add_argument("--send", choices=("jpeg", "pixels"), default="jpeg")
    arguments = parser.parse_args()
    clips = frames.read_clips(arguments)
    answers = []
    with grpc.insecure_channel(arguments.address) as channel:
        for signature, inputs in make_requests(clips, arguments.send):
            try:
                answer = predict(channel, arguments.model, signature, inputs, arguments.timeout)
            except grpc.RpcError as error:
                raise SystemExit(f"{arguments.address} gave no answer: {error.details()}") from None
            rows = len(answer["top_indices"])
            answers += [{key: value[row] for key, value in answer.items()} for row in range(rows)]
    for video, answer in zip(arguments.videos, answers, strict=True):
        (values,) = [answer[key] for key in ("top_probabilities", "top_scores") if key in answer]
        names = answer.get("top_classes", np.char.mod("%d", answer["top_indices"]).astype("S"))
        frames.show(video, [name.decode() for name in names], values)


if __name__ == "__main__":
    main()
