"""Asks TF Serving over REST what videos show.

python examples/serving/rest_client.py VIDEO... [--url http://localhost:8501] [--model NAME]

The frames travel as JPEG, base64 in JSON, about a tenth of what their pixels take. Besides PyAV,
which reads the videos, this needs Python alone.
"""

import argparse
import base64
import json
import urllib.error
import urllib.request

import frames


def predict(url, model, clips, timeout=60):
    """Asks about clips, all in one request.

    Args:
        url: of the server, with its REST port.
        model: name of the network.
        clips: list of clips, each a list of JPEG files as bytes.
        timeout: seconds.

    Returns:
        A dict of outputs for each clip, as lists.

    Raises:
        RuntimeError: with the server's message.
    """
    encoded = [
        [{"b64": base64.b64encode(frame).decode("ascii")} for frame in clip] for clip in clips
    ]
    body = {"signature_name": "jpeg", "instances": [{"frames": clip} for clip in encoded]}
    request = urllib.request.Request(
        f"{url.rstrip('/')}/v1/models/{model}:predict",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return json.load(response)["predictions"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(_message(error)) from None


def _message(error):
    text = error.read().decode("utf-8", "replace")
    try:
        return json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        return f"{error}: {text[:200]}"


def main():
    """Reads the command line, and prints the top classes of each video."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    frames.add_arguments(parser)
    parser.add_argument("--url", default="http://localhost:8501")
    arguments = parser.parse_args()
    clips = [
        [frames.encode_jpeg(picture) for picture in clip] for clip in frames.read_clips(arguments)
    ]
    try:
        answers = [
            answer
            for some in frames.in_requests(clips)
            for answer in predict(arguments.url, arguments.model, some, arguments.timeout)
        ]
    except (OSError, RuntimeError) as error:
        raise SystemExit(f"{arguments.url} gave no answer: {error}") from None
    for video, answer in zip(arguments.videos, answers, strict=True):
        (values,) = [answer[key] for key in ("top_probabilities", "top_scores") if key in answer]
        frames.show(video, answer.get("top_classes", answer["top_indices"]), values)


if __name__ == "__main__":
    main()
