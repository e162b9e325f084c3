"""Multi-view testing: what a network says about whole videos, and how often it is right."""

from keras_nonlocal.evaluation import metrics
from keras_nonlocal.evaluation.fusion import fuse_scores
from keras_nonlocal.evaluation.report import write_report
from keras_nonlocal.evaluation.resizing import resize_input
from keras_nonlocal.evaluation.result import Evaluation, evaluate_views
from keras_nonlocal.evaluation.scores import Scores, load_scores, save_scores
from keras_nonlocal.evaluation.summary import summarize
from keras_nonlocal.evaluation.videos import evaluate_videos
from keras_nonlocal.evaluation.views import predict_views

__all__ = [
    "Evaluation",
    "Scores",
    "evaluate_videos",
    "evaluate_views",
    "fuse_scores",
    "load_scores",
    "metrics",
    "predict_views",
    "resize_input",
    "save_scores",
    "summarize",
    "write_report",
]
