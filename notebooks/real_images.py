# %% [markdown]
# # On real images
#
# The embedded images are drawn by a program; only photographs tell how CoMet does on photographs. These
# belong to others and are not part of the book, so it cannot train on them where it is built. Instead
# `benchmarks/accuracy.py` trains on a folder of them and writes a record; this page shows the record
# that comes with the code. It is of two sets. Both were looked at while settings were chosen, so they
# are no test of the settings. The paper's numbers are for other backbones, sizes and protocols and do not compare.

# %% tags=["parameters"]
record: str = ""  # a file that benchmarks/accuracy.py wrote; empty: the one of the project
profile: str = "demo"  # the record is the same in every profile

# %%
from comet_core import figures_effects, notebook, real_record

notebook.begin(globals())
real = real_record.read_record(notebook.find_record("real.json", record))
gains = real_record.gains(real["rows"])

# %% tags=["remove-input"]
notebook.say(real_record.headline(gains))

# %% [markdown]
# Each run trains on all nominal training images; contaminated runs also on anomalous images from the test
# set, which are taken out of it. The seed decides the injected images, the initialisation and the batches;
# the model is that of the last epoch. *Soft* is CoMet's weights without meta-learning. *CoMet+*, our own,
# leaves images out before the training and then trains plainly ({doc}`beyond`). The *oracle* trains after
# the injected images were taken out by their labels: a bound, not a method. An effect is {term}`settled` if its
# whole interval lies on one side of zero.

# %% tags=["remove-input"]
notebook.show_table(
    real_record.means(real["rows"]),
    "I-AUROC in percent, mean over the seeds, last epoch",
    "tab-real",
    record=real,
)

# %% mystnb={"figure": {"name": "fig-real", "caption": "What each method adds to plain training on the same images with the same seeds; mean and 95 % interval over seeds, in points of I-AUROC."}, "image": {"alt": "A panel for each data set and detector with a dot and a bar for each method, clean and contaminated, beside an upright line at zero."}}
notebook.show(
    figures_effects.effects(
        real_record.drawn(gains),
        real_record.described(real),
        "I-AUROC minus that of plain training, points",
        shared=False,
    ),
    record=real,
)

# %% tags=["remove-input"]
notebook.say(real_record.findings(gains))

# %% [markdown]
# How much of CoMet's gain comes from the weights, from the inner loop, and from the smaller sample that a step sees?
# {doc}`ablation` takes that apart on the same images.
#
# ## The test set may show the same object again
#
# A part is often photographed several times. An injected image then leaves its copies in the test set,
# and the detector is asked about a defect that it was taught to be normal. That is part of what
# contamination costs. {func}`~comet_core.copies.apart` looks for near repeats of the injected images among
# the anomalous test images and measures on repeats and others apart; data without any are not listed.

# %% tags=["remove-input"]
notebook.show_table(
    real_record.copies(real["rows"]),
    "Contaminated: I-AUROC in percent on anomalous test images that nearly repeat an injected one, and on"
    " new ones, each against all nominal test images",
    "tab-copies",
    record=real,
)

# %% [markdown]
# ## Measure on your own
#
# ```console
# $ python benchmarks/accuracy.py --data-root FOLDER --category NAME \
#       --strategy plain soft comet comet+ --seeds 8 --copies --out real.json
# $ papermill notebooks/real_images.ipynb real_images.ipynb -p record real.json
# ```
