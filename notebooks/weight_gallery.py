# %% [markdown]
# # Which images are trusted
#
# A training set that nobody has sorted, a detector that learns from it, and after training one
# number for each image: its confidence weight $w$ (equation {eq}`eq-weight`). The detector was
# told nothing about the images. The colours below, *nominal*, *boundary* and *anomalous*, are
# the truth that it did not see. This is the experiment behind Figure 2 of the paper
# {cite}`aqeel2025comet`, from our own training runs.

# %% tags=["parameters"]
dataset: str = "mvtec_ad"  # layout of the data set (page "Data sets")
data_root: str = ""  # where it lies; empty: the synthetic stand-in
categories: list[str] = []  # categories to show; empty: all of them
detector: str = "simplenet"  # simplenet or differnet
strategy: str = "comet"  # plain, reject, soft, meta or comet
contamination: float = 0.1  # anomalous training images per nominal one
overlap: bool = False  # whether these also stay in the test set
kappa: float = 1.5  # equation 1: interquartile ranges from Q3 to t
seed: int = 0  # of contamination, initialisation and batches
profile: str = "demo"  # size of the experiment: smoke, demo or paper
engine: str = "processes"  # or in_process, or a Dask scheduler: tcp://host:port
strict: bool = True  # stop at an unreadable image, or leave it out

# %%
from comet_core import experiments, figures, interactive, interactive_images, notebook

notebook.begin(globals())
root = notebook.find_data(dataset, data_root)

# %% [markdown]
# One call trains a detector for each category, or finds it trained already, and returns a row of
# results for each.

# %%
rows = experiments.run(
    {
        "dataset": dataset,
        "data_root": root,
        "category": notebook.choose_categories(dataset, root, categories),
        "detector": detector,
        "strategy": strategy,
        "contamination": contamination,
        "overlap": overlap,
        "kappa": kappa,
        "seed": seed,
        "profile": profile,
        "strict": strict,
    },
    engine=engine,
)
samples = notebook.training_samples(rows)
made_from = notebook.describe(rows)

# %% [markdown]
# ## A look at the images
#
# Of each kind we show the most and the least trusted image and, where there is room, some in between,
# evenly spaced in rank: nobody has picked the ones that look best. Where an anomalous image has a weight
# near 1, the detector has taken its defect for normal.

# %% mystnb={"figure": {"name": "fig-weight-gallery", "caption": "Training images and their confidence weights, of each kind the most trusted (left) and the least (right). The bar is the weight."}, "image": {"alt": "Thumbnails of training images in frames coloured by kind, with a bar and a number for the weight of each."}}
notebook.show(figures.weight_gallery(samples, made_from), rows)

# %% [markdown]
# ## All of them, in the order of trust
#
# Weights are 1 up to the threshold, so the order comes from the scores behind them. If the detector
# has understood what it was shown, the tall red ticks of anomalous images gather at the left end, and
# the tall yellow ones, odd but good, lie between them and the crowd.

# %% mystnb={"figure": {"name": "fig-weight-strips", "caption": "Every training image is a tick, the least trusted on the left. The images above are evenly spaced along the order; below each, its weight."}, "image": {"alt": "For each category a row of thumbnails over a strip of ticks, ordered from least to most trusted and coloured by kind."}}
notebook.show(figures.weight_strips(samples, made_from), rows)

# %% [markdown]
# ## Where the threshold falls
#
# The threshold $t$ of equation {eq}`eq-threshold` depends on the quartiles alone. Right of it an
# image counts less; the scale on top says how much. Left of it all count in full, whatever they show:
# against an anomalous image there the weights are of no help. A larger $\kappa$ moves $t$ to the right
# and forgives more. Point at a mark to see the image behind it.

# %% tags=["remove-input"]
interactive.show_inline(
    interactive_images.score_points(samples, kappa),
    "Anomaly scores of the training images in units of the threshold (dashed). The grey band reaches "
    "from the first to the third quartile; the scale on top gives the weight. "
    f"Data: {made_from}.",
    "fig-score-distribution",
    rows,
    still=figures.score_distribution(samples, made_from, kappa),
)

# %% [markdown]
# ## How trust develops
#
# During warm-up all weights are 1. Then they are computed anew from the current model.
# What matters is the gap between the kinds, and whether it holds once it has opened.

# %% mystnb={"figure": {"name": "fig-weight-history", "caption": "Mean weight of each kind of image at each refresh; the band is one standard deviation wide on either side."}, "image": {"alt": "For each category, lines of the mean weight over the epochs, one for each kind of image."}}
notebook.show(figures.weight_history(notebook.weight_courses(rows, samples), made_from), rows)

# %% [markdown]
# ## Do the weights find the dirt?
#
# Whoever wants to clean a training set can look at the least trusted images first. How many of those
# are anomalous? Two numbers tell: the AUROC of the score as a detector of anomalous *training* images,
# where 0.5 is chance; and the precision at $k$, the share of anomalous images among the $k$ least
# trusted, if there are $k$ anomalous images in all.

# %% tags=["remove-input"]
notebook.show_table(
    notebook.dirt_table(samples),
    f"Mean weight by kind with {100 * contamination:g} % of injected anomalies, and the weights as finders of dirt",
    "tab-dirt",
    runs=rows,
)

# %% mystnb={"figure": {"name": "fig-dirt-found", "caption": "Going through the training images, least trusted first: the share of anomalous ones among those seen so far. Dashed, a perfect order; dotted, a random one."}, "image": {"alt": "Curves of precision against the number of images looked at, one for each category."}}
if (samples["truth"] == "anomalous").any():
    notebook.show(figures.dirt_found(samples, made_from), rows)

# %% tags=["remove-input"]
notebook.say(notebook.dirt_finding(samples))

# %% [markdown]
# ## Provenance

# %% tags=["remove-input"]
notebook.show_runs(rows)
