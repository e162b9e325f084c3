"""The recipes: `print(KINETICS.describe())` says what one is, gives and comes from.

- `KINETICS`: the authors', from image weights, in steps.
- `KINETICS_COSINE`: PySlowFast's, from nothing, along a half-cosine.
- `LONG_CLIPS`: the authors', from the network of short clips, with frozen norms.
- `CHARADES`: the authors', several labels a clip.
- `FINE_TUNING`: for tens to thousands of videos of your own, from trained weights.

Each number that is someone else's stands with its place: the paper is
[Non-local Neural Networks](https://arxiv.org/abs/1711.07971); `configs/` and `scripts/` are of
[video-nonlocal-net](https://github.com/facebookresearch/video-nonlocal-net), the authors' code.
"""

from keras_nonlocal.training.recipe import Recipe

_CONFIG = "configs/DBG_kinetics_resnet_8gpu_c2d_nonlocal"

KINETICS = Recipe(
    name="kinetics",
    description=f"""The authors' recipe for Kinetics-400: SGD, 400,000 steps of 64 clips.

Command:
  keras-nonlocal train train.csv --validation val.csv --recipe kinetics \\
      --weights imagenet --batch-size 64 --run runs/kinetics
Expected result:
  NLI3D, 50 layers, 8x8 clips, 10 x 3 views: 74.7 % top-1, 91.6 % top-5; with --clip 32x2
  74.9 % and 91.6 %. Not measured here.
Source:
  {_CONFIG}_400k.yaml and scripts/run_i3d_nlnet_400k.sh of video-nonlocal-net; results of its
  README (run_i3d_nlnet_400k.sh and _32f.sh) and of table 2f of the paper. Norms are of each
  device's share, 8 clips there.
""",
    batch_size=64,
    learning_rate=0.01,
    clips_seen=400_000 * 64,
    schedule="steps",
    decay_at=(150 / 400, 300 / 400),
    momentum_correction=True,
    l2=1e-4,
    dropout=0.5,
    precise_norm_batches=200,
    clip="8x8",
)

KINETICS_COSINE = Recipe(
    name="kinetics-cosine",
    description="""PySlowFast's recipe for Kinetics-400: from random weights, 196 epochs.

Command:
  keras-nonlocal train train.csv --validation val.csv --recipe kinetics-cosine \\
      --layers-of pyslowfast --batch-size 64 --run runs/cosine
Expected result:
  NLI3D, 50 layers, 8x8 clips, 10 x 3 views: 74.0 % top-1, 91.1 % top-5. Not measured here.
Source:
  configs/Kinetics/I3D_NLN_8x8_R50.yaml and slowfast/utils/lr_policy.py of PySlowFast; results
  of its MODEL_ZOO.md (I3D NLN). PyTorch's momentum is that of Keras with the correction.
""",
    batch_size=64,
    learning_rate=0.1,
    epochs=196,
    schedule="half_cosine",
    warmup=34 / 196,
    warmup_start=0.01 / 0.1,
    momentum_correction=True,
    l2=1e-4,
    dropout=0.5,
    precise_norm_batches=200,
    clip="8x8",
)

LONG_CLIPS = Recipe(
    name="long-clips",
    description=f"""The authors' recipe for long clips: from the network of short ones.

Norms are frozen to the affine form, for 2 clips a device give no statistics. Networks of clips
that span 128 frames compare positions of stage 3 within groups of frames by themselves.

Command:
  keras-nonlocal train train.csv --validation val.csv --recipe long-clips \\
      --weights runs/short/model.keras --batch-size 16 --run runs/long
Expected result:
  NLI3D, 50 layers, 32x4 clips, 10 x 3 views, from I3D of 8x8 clips: 76.5 % top-1, 92.6 % top-5;
  with --clip 128x1 76.5 % and 92.7 %. Not measured here.
Source:
  {_CONFIG}_affine_400k.yaml and scripts/run_i3d_nlnet_affine_400k.sh of video-nonlocal-net;
  results of its README (run_i3d_nlnet_affine_400k.sh and _128f.sh); section 4.1 of the paper.
""",
    weights="trained",
    batch_size=16,
    learning_rate=0.0025,
    clips_seen=400_000 * 16,
    schedule="steps",
    decay_at=(150 / 400, 300 / 400),
    momentum_correction=True,
    l2=1e-4,
    dropout=0.5,
    norms="frozen",
    clip="32x4",
)

CHARADES = Recipe(
    name="charades",
    description="""The paper's recipe for Charades: several labels a clip, from Kinetics.

Labels are those of the events that go on during the clip; with `labels_of="video"` all of the
video's. The decay is that of Kinetics.

Command:
  keras-nonlocal train Charades_v1_train.csv --videos Charades_v1 \\
      --validation Charades_v1_test.csv --recipe charades --depth 101 \\
      --weights runs/long/model.keras --batch-size 8 --run runs/charades
Expected result:
  NLI3D, 101 layers, 128x1 clips: 37.5 % mean average precision. Not measured here.
Source:
  Section 5.2 and table 4 (train/val) of the paper.
""",
    weights="trained",
    batch_size=8,
    learning_rate=0.00125,
    clips_seen=200_000 * 8,
    schedule="steps",
    decay_at=(75 / 200, 150 / 200),
    momentum_correction=True,
    l2=1e-4,
    labels="several",
    dropout=0.5,
    norms="frozen",
    clip="128x1",
    crop=288,
    labels_of="clip",
)

FINE_TUNING = Recipe(
    name="fine-tuning",
    description="""For tens to thousands of videos of your own, from trained weights.

All layers are trained at one rate. Batch norms keep the statistics of the weights, as small
batches of few videos have no good ones.

Command:
  keras-nonlocal train videos --validation 0.2 --recipe fine-tuning \\
      --weights nl_i3d_r50_8x8.kinetics400_vnl --run runs/first
Expected result:
  It depends on the videos; benchmarks/README.md compares small tasks with plain `fit`.
Source:
  These choices are this package's own, measured by benchmarks/fine_tuning.py.
""",
    weights="trained",
    batch_size=4,
    learning_rate=0.005,
    epochs=30,
    schedule="half_cosine",
    warmup=0.05,
    l2=1e-4,
    label_smoothing=0.1,
    dropout=0.5,
    norms="frozen",
    clip="8x8",
    color=0.2,
)

RECIPES = {
    recipe.name: recipe for recipe in (KINETICS, KINETICS_COSINE, LONG_CLIPS, CHARADES, FINE_TUNING)
}
