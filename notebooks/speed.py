# %% [markdown]
# # What training costs
#
# A detector on a frozen backbone is usually trained like any other network: every epoch reads and decodes
# every image again and sends it through the backbone, and the test set is scored after each epoch to
# see how it goes. The backbone never changes, so all but the first of these passes compute what is
# already known. We compute features once, keep them on disk, and train on them.
#
# How much is that worth? The usual way is written out in {func}`~comet_core.usual.train_the_usual_way`.
# It trains the same detector on the same images with the same random numbers, and even with our
# backbone, which is faster than the usual one. So the two ways must end with the same scores, and they do.

# %% tags=["parameters"]
record: str = ""  # a file that benchmarks/speed.py wrote; empty: the one of the project
data_root: str = ""  # images of the small measurement below; empty: the synthetic stand-in
category: str = "hide"  # which of them
profile: str = "demo"  # size of that measurement: smoke, demo or paper
peers: str = ""  # a file that benchmarks/peers.py wrote; empty: the one of the project
gpu: str = ""  # a file that benchmarks/gpu.py wrote; empty: the one of the project

# %%
import pandas as pd

from comet_core import (
    figures_speed,
    gpu_record,
    notebook,
    peers_record,
    records,
    speed,
    speed_record,
)

notebook.begin(globals())
measured = records.read_record(notebook.find_record("speed.json", record), "bench")
rows = measured["rows"]
note = speed_record.described(measured)
rivals = peers_record.read_record(notebook.find_record("peers.json", peers))
lent = gpu_record.read_record(notebook.find_record("gpu.json", gpu))

# %% [markdown]
# ## Measured by the benchmark
#
# `make bench` measures both ways at several numbers of images, each in a process of its own. This
# takes minutes, so the book shows its record. Times are processor time of one thread, which a busy machine
# changes little, for as many epochs as the detectors were published with: 160 for SimpleNet, 192 for DifferNet. Everything
# from image files to test scores counts; importing libraries and loading the backbone do not.

# %% tags=["remove-input"]
notebook.show_table(
    speed_record.overview(rows),
    "Time, memory and I-AUROC of both ways. The I-AUROC is that after the epochs which both trained"
    " for the comparison, not of a finished training",
    "tab-speed",
    record=measured,
)

# %% tags=["remove-input"]
notebook.say(f"{speed_record.findings(rows)} ({note}.)")

# %% mystnb={"figure": {"name": "fig-speed", "caption": "Time from image files to test scores, by the number of training images. Both axes are logarithmic; lines are straight ones in the number of images, fitted to the points."}, "image": {"alt": "Two panels of processor time against training images, one for each detector. The points of the usual way lie far above ours."}}
notebook.show(figures_speed.times(rows, speed_record.scaling(rows), note), record=measured)

# %% [markdown]
# With so many epochs the ratio is nearly that of the time for one epoch; with the features at hand an epoch is
# no more than a few small matrix products.
#
# ## Against what people use today
#
# `make bench-peers` runs PatchCore, PaDiM and SuperSimpleNet, as anomalib has them, and our detectors on the
# same images with the same backbone. Anomalib's models have its settings and run in a plain loop without
# Lightning, on the same pixels and in the same passes as ours. They also draw an anomaly map with each score,
# which ours need not. Times are processor seconds of one thread from image files on, features included;
# memory is the peak of the process, of which libraries take 0.6 to 0.7 GB.

# %% tags=["remove-input"]
notebook.show_table(
    peers_record.overview(rivals["rows"]),
    "Ours and anomalib's: I-AUROC with its 95 % interval over seeds, training time, time for a test"
    " image and memory, these three at the largest contamination",
    "tab-peers",
    record=rivals,
)

# %% tags=["remove-input"]
notebook.say(
    f"{peers_record.findings(rivals['rows'], rivals['recipe_epochs'])}"
    f" ({peers_record.described(rivals)}.)"
)

# %% [markdown]
# PatchCore's coreset grows with the number of patches, and so does each step of choosing it: twice the images take
# four times as long. Our memory bank chooses from at most 20,000 patches. EfficientAD is missing because its
# teacher network has to be downloaded.
#
# ## Measured just now
#
# The same on a handful of images, on the machine that made this page. With few images and few epochs
# the times scatter, but the table shows that both ways give equal scores on this machine, too (*score
# difference*: the largest, in standard deviations of the scores).

# %%
cases = speed.small_cases(notebook.find_data("mvtec_ad", data_root), category, profile)
here = pd.DataFrame(speed.compare(cases, run=speed.measure))

# %% tags=["remove-input"]
notebook.show_table(
    here[["way", "images", "setup_seconds", "epoch_seconds", "score_difference", "image_auroc"]],
    "SimpleNet, both ways, on this machine: seconds before the first epoch and of an epoch",
    "tab-speed-here",
    decimals=4,
)

# %% [markdown]
# ## On a GPU
#
# With `COMET_DEVICE=cuda` detectors are trained and score on a GPU ({doc}`/use/rerun`). `make bench-gpu` does the
# same work there and on the processor of the same machine: a training step in the sizes of the demo and of the paper, and whole
# runs with 10 % contamination. Times are on the clock.
#
# The kernels of a small network take less time than a processor needs to launch them one by one, so in the sizes of
# the demo little is gained that way. Therefore the gradient of a batch is recorded once as a CUDA graph and
# launched as a whole ({class}`~comet_core.devices.Recorded`), with matrix products on the units made for them
# ({func}`~comet_core.devices.quick_products`).

# %% tags=["remove-input"]
notebook.show_table(
    gpu_record.overview(lent["rows"]),
    "What a training step takes on the processor, on a GPU with each kernel launched by itself, and"
    " on a GPU recorded; the ratio is of the first to the last",
    "tab-gpu",
    record=lent,
)

# %% tags=["remove-input"]
notebook.show_table(
    gpu_record.runs(lent["rows"]),
    f"Whole runs of the demo profile on {lent['images']['category'].replace('_', ' ')} with 10 % contamination:"
    f" I-AUROC after the last epoch with its 95 % interval over {lent['rows']['seed'].nunique()} seeds, cut"
    " at 1, and the time of the training",
    "tab-gpu-runs",
    record=lent,
)

# %% tags=["remove-input"]
notebook.say(f"{gpu_record.findings(lent)}\n\n({gpu_record.described(lent)}.)")

# %% [markdown]
# In the sizes of the demo a step of CoMet takes more than twice as long as a plain one on these sixteen threads, but
# 1.3 to 1.4 times as long on one thread: its products are smaller, and more threads help them less. Random numbers
# are the device's own, so the same seed trains another model on a GPU: single runs differ by as much as seeds do.
#
# ## Where the rest of the speed comes from
#
# - *Batch normalisation is folded* into the convolutions before it
#   ({func}`~comet_core.backbones.fold_batch_norms`). This changes the features by a twentieth of what rounding
#   them to half precision does.
# - *Passes are small.* The working memory of a large batch would be fetched from the system anew each time, which
#   costs as much as the arithmetic ({data}`~comet_core.features.PASS_PIXELS`).
# - *Only the layers that are wanted are computed*; meanwhile other threads decode and resize images.
# - *A training step looks at a random subset of the patches* of an image, as neighbours say nearly the
#   same ({class}`~comet_core.detectors.simplenet.SimpleNetOptions`).
# - *Scoring is one matrix product*: adaptor, hidden layer and normalisation are linear
#   ({meth}`~comet_core.detectors.simplenet.SimpleNet.part_scores`).
#
# Memory is kept low, too. Features are held once; many of them lie in a file that the system maps into memory and
# may drop again ({func}`~comet_core.features.room`). Above a gigabyte of samples, a detector that looks at some
# patches only trains on every second patch of every second row, in half precision. `make bench-memory` prints the
# peaks with 5,000 images, which are to stay below 2 GB.
#
# We tried some things and did not keep them: bfloat16, which is faster but changes the features by 5 to 7 %;
# `torch.compile`, which takes a minute for the embedded backbone and then saves 5 % of a pass; a matrix product
# for each task of the meta-learning (`vmap`), see {mod}`comet_core.meta`; and oneDNN's matrix products in training as
# well as in scoring ({mod}`comet_core.products`), which PyTorch has no public function for. On an AMD processor they
# save plain SimpleNet a fifth of its training and CoMet, whose products are smaller, a tenth; DifferNet half of that.
