# %% [markdown]
# # What contamination costs
#
# The paper claims that a detector trained by CoMet does not suffer from a few anomalies among its
# training images, while the plain detector does. Its Figure 5 {cite}`aqeel2025comet` shows the
# I-AUROC against the share of anomalous training images, from 0 to 10 %. This chapter draws that
# figure from our own runs, for both detectors and for each part of the method taken alone.
#
# A run at 6 % injects anomalous *test* images into the training set, 6 for each 100 nominal ones.
# They leave the test set, unless we say otherwise. The seed of a run decides which images are
# injected, the initial weights and the batches.

# %% tags=["parameters"]
datasets: list[str] = []  # layouts of the data sets; empty: mvtec_ad, and ksdd2_clean if embedded
data_root: str = ""  # where they lie; empty: the synthetic stand-ins
categories: list[str] = []  # categories to average over; empty: those of the profile, or all
detectors: list[str] = []  # empty: simplenet and differnet, and their peers
strategies: list[str] = []  # empty: plain, reject, soft, meta, comet, and what came later
levels: list[float] = []  # anomalous training images per nominal one; empty: 0 to 0.1
overlap: bool = True  # show the second protocol as well, where injected images stay in the test set
seeds: list[int] = []  # empty: those of the profile
profile: str = "demo"  # size of the experiment: smoke, demo or paper
engine: str = "processes"  # or in_process, or a Dask scheduler: tcp://host:port
strict: bool = True  # stop at an unreadable image, or leave it out

# %%
from comet_core import (
    evidence,
    experiments,
    figures_evidence,
    interactive,
    interactive_curves,
    model_uncertainty,
    noise,
    notebook,
)

notebook.begin(globals())

# %% [markdown]
# Two grids in one call: every strategy at every level, and the detectors that no strategy applies to.

# %%
data = {"datasets": datasets, "data_root": data_root, "categories": categories, "strict": strict}
chosen = {**data, "detectors": detectors, "levels": levels, "seeds": seeds}
grids = evidence.curves(profile, **chosen, strategies=strategies)
if not detectors:
    grids += evidence.peers(profile, **data, levels=levels, seeds=seeds)
runs = experiments.run(grids, engine=engine)
rows = noise.prepared(runs)
made_from = notebook.describe(runs)

# %% [markdown]
# ## The paper's Figure 5, from our runs
#
# Read a panel from the left. At 0 % all methods have the same clean training set, and one that starts
# low pays there for its caution. From there on the black line shows what contamination does to the
# plain detector, the thick blue one what it does under CoMet. The other lines take CoMet apart: *reject*
# leaves out whatever scores beyond the threshold, *soft* is the weights without the meta-learning, *meta*
# the meta-learning without the weights. *CoMet+*, which has {doc}`a chapter of its own <beyond>`, and the
# memory banks ({doc}`speed`) are run in the demo book at the two ends only.

# %% mystnb={"figure": {"name": "fig-noise-curves", "caption": "Mean I-AUROC over the seeds against the share of injected anomalies, which have left the test set. Bands (plain, CoMet) and bars (the others) are 95 % intervals. The memory bank and SoftPatch are detectors of their own: their lines are the same in the rows of either detector, and what leaves a panel at the bottom is in the next figure under *all*."}, "image": {"alt": "Panels for each detector and data set, with falling lines of I-AUROC against contamination, one for each method, plain and CoMet in bold with bands."}}
notebook.show(figures_evidence.noise_curves(rows, made_from), runs)

# %% [markdown]
# This is what the curves say at their right end, in points of I-AUROC (hundredths). Each difference is taken
# between runs of one seed and has its 95 % interval over the seeds. The sentences are computed from the
# runs, like the figure, whichever way they come out.

# %% tags=["remove-input"]
notebook.say(noise.findings(rows))

# %% [markdown]
# ## Ask the curves
#
# The same points, one panel at a time, each with a scale of its own. Choose a method to see its band, or *all* to see the
# memory bank whole, and point at a mark for the value of each seed. Be slow to believe in a gap between two methods that is
# smaller than the gaps between the seeds of one.

# %% tags=["remove-input"]
interactive.show_inline(
    interactive_curves.noise_chooser(rows),
    "I-AUROC against the share of injected anomalies, to choose from and to point at.",
    "fig-noise-chooser",
    runs,
    figures_evidence.noise_curves(rows, made_from),
)

# %% [markdown]
# ## All methods in numbers
#
# A method is worth its trouble if it gains on plain training where the set is contaminated and loses
# nothing where it is clean. For the latter, look at 0 % in the figure.

# %% tags=["remove-input"]
notebook.show_table(
    noise.loss_table(rows),
    "I-AUROC in points: lost against the same method on clean data, and gained on plain training",
    "tab-noise-losses",
    runs=runs,
)

# %% [markdown]
# ## When the injected images stay in the test set
#
# Under the second protocol a test image may have been trained on. A detector that has learned it as
# normal is then asked about it again, so the fall can be steeper: it measures memory as much as
# damage. The lines under the figure say whether it is. Whoever searches the training set itself for
# defects is in this situation. The runs are those of the first figure: what a model is asked afterwards
# does not change its training.

# %% mystnb={"figure": {"name": "fig-noise-overlap", "caption": "Mean I-AUROC with the injected images taken out of the test set (full marks, 95 % band) and left in it (open marks, 95 % bars)."}, "image": {"alt": "Panels for each detector and data set with solid lines without overlap and dashed lines with it, for plain training and CoMet."}}
if overlap and rows["overlap"].any():
    trained = runs["detector"].isin(evidence.DETECTORS)
    two = runs[trained & runs["strategy"].isin([evidence.BASELINE, evidence.METHOD])]
    notebook.show(figures_evidence.overlap_curves(rows, notebook.describe(two)), two)

# %% tags=["remove-input"]
if overlap:
    notebook.say(noise.overlap_findings(rows))

# %% [markdown]
# ## Does the model notice?
#
# The second idea of the paper is that the model watches itself. Where the losses of its tasks scatter, the
# determinant of their covariance {eq}`eq-sigma` is large, and the penalty {eq}`eq-lambda` pulls harder on the
# model's parameters. A contaminated training set should make a model less sure. The runs above measured
# $\det\Sigma$ as they trained, with all images at full weight (*meta*) and with the weights of equation
# {eq}`eq-weight` (CoMet).

# %% mystnb={"figure": {"name": "fig-uncertainty", "caption": "The determinant of the covariance of training and validation losses over the epochs, at the lowest (dashed) and at the highest contamination: geometric mean of the runs, and their range as a band."}, "image": {"alt": "Panels for each detector and data set with a logarithmic axis: for each of meta and CoMet a dashed line for the clean training set and a solid one for the contaminated."}}
courses = model_uncertainty.courses(runs)
watched = runs[runs["hash"].isin(courses["hash"])]
if len(watched):
    note = notebook.describe(watched)
    notebook.show(figures_evidence.uncertainty_courses(courses, note), watched)

# %% [markdown]
# How much larger is $\det\Sigma$ in the last third of the training? The factors are between runs of one seed,
# with 95 % intervals over the seeds; an interval that holds 1 settles nothing. Where dirt multiplies
# $\det\Sigma$ without the weights and not with them, the weights have taken away what the model was unsure of.
#
# Where batches differ in size, part of a factor does not come from the dirt: means over fewer images scatter
# more. In the demo book they hardly differ: a step of DifferNet takes 21 or 22 of the 64 clean images, and 23
# or 24 of the 70 with 10 %.

# %% tags=["remove-input"]
notebook.say(model_uncertainty.findings(courses))

# %% [markdown]
# Whether $\lambda$ notices is a matter of scale. $\det\Sigma$ is a product of variances of losses, so
# losses half as large make it sixteen times as small, and the equations do not say in which unit a loss is
# to be taken; ours are means over images and, for DifferNet, over dimensions. {doc}`ablation` tries a
# $\gamma$ that does move $\lambda$.
#
# ## What this does and does not show
#
# - Of the six embedded categories in the layout of MVTec AD the demo book shows the one that
#   contamination costs plain SimpleNet most, the woven fabric: where nothing is lost, no method can win
#   anything back. In the others the lines lie closer together; `categories` draws them.
# - The stand-ins are drawn by a program. A method's rank on them is no rank on MVTec AD or KSDD2;
#   {doc}`reproduce_the_paper` has the calls for the published data.
# - Without overlap the injected images leave the test set, so the points of a curve are measured on slightly
#   different test sets, with fewer anomalous images to the right. Methods at one level share a test set.
# - The sources we could read do not say which protocol the paper used, nor how images were drawn; ours follows
#   SoftPatch {cite}`jiang2022softpatch` (**choice**).

# %% [markdown]
# ## Provenance

# %% tags=["remove-input"]
notebook.show_runs(runs)
