# %% [markdown]
# # How far to trust: three equations
#
# Here you compute by hand, in small steps, how much each training image counts: equations
# {eq}`eq-threshold` to {eq}`eq-data-loss`, first on ten numbers, then on the scores of a real run. You
# need to know what a quartile is, and nothing else.

# %% tags=["parameters"]
kappa: float = 1.5  # interquartile ranges from the third quartile to the threshold
dataset: str = "mvtec_ad"  # layout of the data set of the real run
data_root: str = ""  # where it lies; empty: the synthetic stand-in
category: str = ""  # the category to look at; empty: the first
detector: str = "simplenet"  # simplenet or differnet
contamination: float = 0.1  # anomalous training images per nominal one
seed: int = 0  # of contamination, initialisation and batches
profile: str = "demo"  # size of the real run: smoke, demo or paper

# %%
import pandas as pd
import torch

from comet_core import (
    confidence,
    experiments,
    figures_teaching,
    interactive,
    notebook,
)

notebook.begin(globals())

# %% [markdown]
# ## Ten scores
#
# A detector has given ten training images an anomaly score each; higher means odder. Nobody knows
# which of the images are good. Two of the numbers stand out. Would you have thrown those images
# away? One, or both?

# %%
scores = torch.tensor([1.5, 9.0, 1.2, 1.8, 1.0, 3.4, 1.4, 2.0, 1.3, 1.7])

# %% [markdown]
# ## Equation 1: where unusual begins
#
# A quartile is a place in the sorted list. With ten numbers, at positions 0 to 9, the first quartile
# lies a quarter of the way, at position 0.25 · 9 = 2.25: from the number at position 2, a quarter of
# the step to the next. The third lies at 6.75.

# %%
ordered = torch.sort(scores)[0]
q1 = ordered[2] + 0.25 * (ordered[3] - ordered[2])
q3 = ordered[6] + 0.75 * (ordered[7] - ordered[6])
print(f"Q1 = {q1:.3f}, Q3 = {q3:.3f}")
print(f"the middle half is {q3 - q1:.3f} wide")

# %% [markdown]
# From $Q_3$ we go $\kappa$ times that width further up.

# %%
t = q3 + kappa * (q3 - q1)
print(f"t = {t:.3f}")

# %% [markdown]
# The package does the same for any number of scores.

# %%
confidence.quartiles(scores), confidence.iqr_threshold(scores, kappa)

# %% [markdown]
# ## Equation 2: from a score to a weight
#
# Up to $t$ an image counts in full; beyond, by the ratio of $t$ to its score.

# %%
weights = (t / scores).clamp(max=1)
for score, weight in zip(scores, weights, strict=True):
    bar = "█" * round(20 * weight.item())
    print(f"score {score:3.1f}   weight {weight:.2f}  {bar}")

# %% mystnb={"figure": {"name": "fig-ten-scores", "caption": "The ten scores and their weights. The grey band is the middle half, from the first to the third quartile; dashed, the threshold. Left of it the weight is 1, right of it the weight falls like one over the score."}, "image": {"alt": "Ten points on a curve that is 1 up to the threshold and falls beyond it."}}
ten = pd.DataFrame({"score": scores, "truth": "unknown"})
notebook.show(figures_teaching.weights_at(ten, [kappa], "ten numbers, made up"))

# %% [markdown]
# So no image is thrown away. One a little beyond the threshold counts a little less; one far beyond it
# counts little, but it may yet turn out to be good, when the model has learned more.
#
# ## Equation 3: what the weights do to the loss
#
# In training, the losses of the images are added, each times its weight. Many losses grow with the
# score; let us take half the score as the loss, as it is for DifferNet except for one term.

# %%
losses = scores / 2
plain, soft = losses, weights * losses
columns = {"score": scores, "weight": weights}
pd.DataFrame(columns | {"loss": plain, "weighted": soft}).round(3)

# %% tags=["remove-input"]
worst = scores.argmax()
notebook.say(
    f"The oddest image alone makes up {100 * plain[worst] / plain.sum():.0f} % of the plain sum and "
    f"{100 * soft[worst] / soft.sum():.0f} % of the weighted one. In the package the sum is divided by "
    f"the number of images: {soft.sum() / len(soft):.3f}, and `weighted_loss` says "
    f"{confidence.weighted_loss(losses, weights):.3f}."
)

# %% [markdown]
# ## Exercises
#
# **1.** For which $\kappa$ does the oddest of the ten images count exactly one half?

# %% tags=["hide-cell", "solution"]
# w = t / a = 1/2 means t = a / 2, and t = Q3 + kappa (Q3 - Q1).
a = scores.max()
half = (a / 2 - q3) / (q3 - q1)
at_half = confidence.iqr_threshold(scores, half)
weight = confidence.confidence_weights(a, at_half)
assert torch.isclose(weight, torch.tensor(0.5))
print(f"kappa = {half:.2f}")

# %% [markdown]
# **2.** Look at the last column of the table above: what do the two odd images have in common? Show that
# it must be so, and that no image can add more, however high its score.

# %% tags=["hide-cell", "solution"]
# Beyond t, weight times score is (t / a) a = t, whatever a is: w a = min(a, t).
# A loss that grows with the score is thus cut off at t: an outlier has bounded influence.
for far in (t.item(), 9.0, 90.0, 9000.0):
    some = torch.tensor([1.0, far])
    added = confidence.confidence_weights(some, t) * some
    assert torch.allclose(added, some.clamp(max=t.item()))
assert torch.allclose(weights * scores, torch.minimum(scores, t))
print(f"every image beyond the threshold adds t / 2 = {t / 2:.3f}")

# %% [markdown]
# **3.** Replace the largest two, then three, of the ten scores by 100. What happens to the weights,
# and why? What does that say about how dirty a training set may be?

# %% tags=["hide-cell", "solution"]
lowest = []
for spoiled in (2, 3):
    dirty = ordered.clone()
    dirty[-spoiled:] = 100
    threshold = confidence.iqr_threshold(dirty, kappa)
    least = confidence.confidence_weights(dirty, threshold).min().item()
    lowest.append(least)
    print(f"{spoiled} spoiled: t = {threshold:.1f}, lowest {least:.2f}")
# Q3 lies at position 6.75, between the numbers at 6 and 7. Two spoiled ones sit at 8 and 9. The third
# sits at 7, and drags Q3 and with it t up to its own height: all weights are 1 again.
# The rule can stand less than a quarter of dirt, whatever kappa is.
assert lowest[0] < 0.1 or kappa > 12
assert lowest[1] == 1 or kappa < 0.34

# %% [markdown]
# ## A real run
#
# The same on the training images of one category, scored by a detector at the end of its training.
# If the chapter on {doc}`weights </notebooks/weight_gallery>` has trained it before, it is not
# trained again.

# %%
root = notebook.find_data(dataset, data_root)
rows = experiments.run(
    {
        "dataset": dataset,
        "data_root": root,
        "category": category or notebook.choose_categories(dataset, root, [])[0],
        "detector": detector,
        "strategy": "comet",
        "contamination": contamination,
        "kappa": kappa,
        "seed": seed,
        "profile": profile,
        "strict": True,
    }
)
samples = notebook.training_samples(rows)
made_from = notebook.describe(rows)

# %% [markdown]
# Three values of $\kappa$ on these scores. With $\kappa = 0$ a quarter of all images counts less,
# good ones too; a large $\kappa$ forgives everything. A good threshold has the crosses on its right and
# the circles on its left. The colours are the truth, which the detector did not see.

# %% mystnb={"figure": {"name": "fig-three-kappas", "caption": "Scores and weights of the training images of one category for three values of κ. Grey band: first to third quartile. Dashed: the threshold."}, "image": {"alt": "Three panels with points on the weight curve; the threshold lies further right in each."}}
kappas = (0, 1.5, 5)
notebook.show(
    figures_teaching.weights_at(
        samples,
        kappas,
        made_from,
        logarithmic=True,
    ),
    rows,
)

# %% [markdown]
# Now turn it yourself. The scores stay as they are; training again with another $\kappa$ would
# change them as well.

# %% tags=["remove-input"]
interactive.show_inline(
    interactive.kappa_slider(samples, min(kappa, 6.0), photos=4),
    "The same images under a κ of your choice. Grey band: first to third quartile. Dashed: the "
    "threshold. Below, images of each kind, evenly spaced in rank, with their weights. "
    f"Data: {made_from}.",
    "fig-turn-kappa",
    rows,
    still=figures_teaching.weights_at(samples, (kappa,), made_from, logarithmic=True),
)

# %% [markdown]
# **4.** With the slider: up to which $\kappa$ does the mean weight of the anomalous images stay more
# than 0.1 below that of the nominal ones? Check yourself in code.

# %% tags=["hide-cell", "solution"]
of = torch.tensor(samples["score"].tolist())
bad = torch.tensor((samples["truth"] == "anomalous").tolist())
good = torch.tensor((samples["truth"] == "nominal").tolist())
gaps = {}
for step in range(61):
    cut = confidence.iqr_threshold(of, step / 10)
    w = confidence.confidence_weights(of, cut)
    gaps[step / 10] = (w[good].mean() - w[bad].mean()).item()
wide = [value for value, gap in gaps.items() if gap > 0.1]
assert all(-1 <= gap <= 1 for gap in gaps.values() if gap == gap)
if not wide:
    print("for none")
elif max(wide) == max(gaps):
    print(f"for every kappa of the slider, up to {max(gaps)}")
else:
    print(f"up to kappa = {max(wide)}")

# %% [markdown]
# ## Provenance

# %% tags=["remove-input"]
notebook.show_runs(rows)
