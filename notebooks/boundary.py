# %% [markdown]
# # A boundary that moves
#
# An anomaly detector draws a line around what it takes for normal. Here the training images are
# points in a plane, so the line can be seen. We put boundary points and anomalous points into the
# training set, tell the detector nothing, train it, and look where the line goes. This is the
# subject of Figure 1 of the paper {cite}`aqeel2025comet`, but computed: synthetic points, real
# training.

# %% tags=["parameters"]
boundary: int = 6  # boundary points in the training set
anomalous: list[int] = [0, 3, 6, 9, 12]  # anomalous points, beside 90 nominal ones
drawn: list[int] = [0, 9, 12]  # of these, the ones to draw
seeds: int = 3  # repetitions: points, initialisation and batches
epochs: int = 60  # of training
profile: str = "demo"  # size of the experiment: smoke (two seeds) or as above

# %%
from comet_core import figures_teaching, notebook, teaching

notebook.begin(globals())
seeds = 2 if profile == "smoke" else seeds
note = f"synthetic points · {{}} · {epochs} epochs · {{}} seeds"

# %% [markdown]
# ## The detector
#
# {class}`~comet_core.teaching.Ellipse` is the smallest relative of DifferNet: one linear map
# $z = A(x - c)$ instead of a deep flow, with the same loss and the same score, the mean of $z^2$.
# It has six numbers to learn. The boundary is where the score equals the threshold $t$ of equation
# {eq}`eq-threshold`, and it is an ellipse. The detector is trained by
# {func}`~comet_core.training.fit`, like everything else in this book:
# *plain* trains without weights or tasks, *CoMet* with both, and *soft* with weights only.

# %%
contents = [(boundary, number) for number in anomalous]
trained = teaching.learn_all(
    "ellipse", ("plain", "soft", "comet"), [(0, 0), *contents], seeds, epochs
)
table = teaching.learned_table(trained)

# %% [markdown]
# ## Points go in, the line moves
#
# In the first row all is well. In the second, boundary points widen the line a little in all
# directions, which is right: they are good, and the next ones should raise no alarm. Then anomalous
# points come in, a small dense cluster, as defects of one kind are. The line stretches towards them.
# On the right, points are drawn in proportion to their weights: see whether the crosses shrink, and
# whether the line stays where it was.

# %% mystnb={"figure": {"name": "fig-boundary", "caption": "What the detector learns from four training sets, plain (left) and with CoMet (right). Points are those of the first seed, drawn in proportion to their weights. Heavy line: the boundary learned from them; dashed: from nominal points only; light: other seeds."}, "image": {"alt": "Rows of scatter plots with ellipses. As anomalous points are added, the ellipse on the left stretches towards them."}}
shown = [(0, 0)] + [(boundary, number) for number in drawn]
notebook.show(
    figures_teaching.boundaries(
        teaching.chosen(trained, shown, ("plain", "comet")), note.format("ellipse", seeds)
    )
)

# %% [markdown]
# ## How many are too many
#
# The same trainings as numbers. Each detector ranks points that it was not trained on: nominal,
# boundary and anomalous ones. The AUROC on top is the chance that it scores an anomalous one higher
# than a good one. Below is how far it trusts the anomalous points of its own training set. As long as
# they score above $t$, the weights hold them down. But $t$ comes from quartiles of scores that
# include theirs, under a model that they have already bent. Where their weight climbs back to 1, the
# weights no longer help.

# %% mystnb={"figure": {"name": "fig-boundary-curves", "caption": "AUROC on held-out points (top) and mean weight of the anomalous training points (bottom), against the number of these points. Lines are means over the seeds, bands reach from the lowest to the highest."}, "image": {"alt": "Two panels of curves over the number of anomalous training points, for plain, soft and comet."}}
notebook.show(
    figures_teaching.boundary_curves(
        table[table["boundary"] == boundary], note.format("ellipse", seeds)
    )
)

# %% tags=["remove-input"]
notebook.say(teaching.boundary_finding(table[table["boundary"] == boundary]))

# %% [markdown]
# If the detector's own threshold $t$ raises the alarm, what is the outcome, in the mean over the seeds?
# *Caught* is the share of held-out anomalous points beyond the line, *false alarms* the share of good
# ones. Half of the good ones are boundary points, a far larger share than in any training set here.
# Without boundary points in training nearly all of them lie beyond the line, which alone makes for a
# share of one half.

# %% tags=["remove-input"]
told = ["boundary", "anomalous", "strategy"]
measured = ["auroc", "caught", "false_alarms"]
notebook.show_table(
    table.groupby(told, sort=False)[measured].mean().reset_index(),
    "Ellipses learned from growing training sets, on held-out points",
    "tab-boundary",
)

# %% [markdown]
# *soft* and *CoMet* differ only by the inner and outer loop. Where their curves coincide, the weights
# do the work.
#
# ## A detector that bends
#
# An ellipse is stiff: to include the cluster it has to include much else. DifferNet's flow can bend.
# We ask it the same question on the same points, without anomalous ones and with the three largest
# numbers of them.

# %%
asked = [(boundary, number) for number in dict.fromkeys([0, *anomalous[-3:]])]
flows = teaching.learn_all("flow", ("plain", "comet"), asked, 2, epochs)

# %% mystnb={"figure": {"name": "fig-boundary-flow", "caption": "The same for a small DifferNet flow; dashed, the boundary learned without anomalous points. The flow grows an arm around them where it can."}, "image": {"alt": "Scatter plots with curved boundaries, plain on the left, CoMet on the right."}}
notebook.show(figures_teaching.boundaries(flows, note.format("DifferNet flow", 2)))

# %% tags=["remove-input"]
notebook.say(teaching.boundary_finding(teaching.learned_table(flows)))

# %% [markdown]
# Weights come from scores, and scores from a model that has seen these points. A model flexible
# enough to learn them by heart gives them low scores, and equation {eq}`eq-weight` then has nothing
# to hold on to. This is the circle of {doc}`/problem/uncurated` in its smallest form.
