# %% [markdown]
# # The whole method in one drawing
#
# What the {doc}`eight equations </method/equations>` say one after the other goes round in a circle.
# This is our own drawing of what Figure 3 of the paper {cite}`aqeel2025comet` shows. In the book
# every box links to the function that does the work; numbers in brackets are equations.

# %% tags=["parameters"]
profile: str = "demo"  # the drawing is the same in every profile

# %%
from comet_core import diagrams, interactive, notebook

notebook.begin(globals())

# %% [markdown]
# Read it from the top. Then follow the two columns: on the left, how far to trust each *image*; on the
# right, how far the *model* may trust itself. They meet in the losses, which the weights enter, and
# in the outer loop, which changes $\theta$. With a new $\theta$ both begin again.

# %% tags=["remove-input"]
interactive.show_inline(
    diagrams.pipeline(),
    "One round of CoMet. Features are computed once; everything below them is repeated. Drawn by code, no data.",
    "fig-pipeline",
)

# %% [markdown]
# The two columns turn at different speeds. Weights are computed anew every few epochs, from all
# training images; tasks and losses at every outer step, from one batch. $\Sigma$ is taken over the
# latest pairs of losses, so the penalty of a step comes from the steps before it.
#
# The same in words, with places to read on:
#
# 1. {func}`~comet_core.datasets.load` lists the images and {func}`~comet_core.features.extract` turns
#    them into features, which are kept.
# 2. {func}`~comet_core.training.confidence` scores every training image with the detector as it is, and
#    turns scores into weights by {func}`~comet_core.confidence.iqr_threshold` {eq}`eq-threshold` and
#    {func}`~comet_core.confidence.confidence_weights` {eq}`eq-weight`.
# 3. {func}`~comet_core.meta.split_tasks` cuts a batch into tasks;
#    {func}`~comet_core.meta.adapt` takes the inner step {eq}`eq-inner` of each.
# 4. {func}`~comet_core.confidence.weighted_loss` {eq}`eq-data-loss` of both parts of a task, at
#    $\theta'$, is a pair for {func}`~comet_core.uncertainty.loss_covariance` {eq}`eq-sigma`, and
#    {func}`~comet_core.uncertainty.adaptive_lambda` {eq}`eq-lambda` turns that into a penalty.
# 5. {func}`~comet_core.meta.meta_gradient` {eq}`eq-outer` is the direction of the outer step, which the
#    detector's own optimiser takes.
#
# {func}`~comet_core.training.train` is the loop around all this. It never asks what kind of detector it
# trains: anything with a score and a differentiable loss can take part
# ({class}`~comet_core.detectors.base.Detector`).
