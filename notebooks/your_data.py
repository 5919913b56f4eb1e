# %% [markdown]
# # Your images
#
# You have a folder of images that nobody has sorted: which of them should you look at first? This page
# answers that. For your own folder it takes one command and no labels:
#
# ```console
# $ papermill notebooks/your_data.ipynb out.ipynb -p images ~/photos
# ```
#
# All the images go into the training, the defective ones included, and each gets a score for how unlike
# the others it is. Several detectors are trained and their scores averaged: three SimpleNets (`members`), which
# look for odd patches, from different seeds, since a single one ranks by chance as well; and a DifferNet
# (`second`), which looks at the whole image and has as much of a say as they have together. The most suspicious
# come first, with the place whose patches are strangest; a cut says where the unusual begins.
#
# Run without a folder, as for this page, the notebook makes a *mixture*: good images of a synthetic
# stand-in and some defective ones, shuffled into one folder under names that tell nothing. There the
# truth is known, and at the end we look at it.

# %% tags=["parameters"]
images: str = ""  # folder of unlabelled images, nested or flat; empty: a synthetic mixture
out: str = "reports"  # folder below which the report is written, under the images' name
without: list[str] = []  # lists saved by earlier reports; what they mark defective is left out
strategy: str = "comet+"  # how the model is trained: comet+, comet, or one of its parts
kappa: float = 1.5  # equation 1: interquartile ranges from Q3 to the cut; larger flags fewer
image_size: int = 0  # pixels at which images are seen; 0: what the profile says
shown: int = 60  # images shown large in the report, with maps; all flagged ones are, up to 120
category: str = "bottle_cap"  # of the stand-in that the mixture is made of
defective: int = 12  # defective images in the mixture
seed: int = 0  # of the training, and of the mixture
members: int = 3  # detectors that are trained, from one seed each, and averaged: a steadier order
second: str = "differnet"  # detector of another kind with as much of a say; empty: none, which takes two thirds of the time
profile: str = "demo"  # size of the training: smoke, demo or paper
strict: bool = False  # stop at an unreadable file, or leave it out and say so

# %%
from pathlib import Path

from comet_core import datasets, figures_triage, interactive, notebook, report_place, triage
from comet_core.datasets.mixture import mix_below

notebook.begin(globals())
defective = min(defective, 8) if profile == "smoke" else defective  # its stand-in is small
folder, truth, source = Path(images).expanduser(), None, "unlabelled images"
if not images:
    stand_in = datasets.load("mvtec_ad", notebook.find_data("mvtec_ad"), category)
    folder, truth = mix_below(stand_in, defective, Path(out).expanduser() / "mixtures", seed)
    source = f"synthetic stand-in, {category}"

# %% [markdown]
# One call does the work and writes the report. If there is already a report on another folder of the same
# name, this one gets a number.

# %%
report = report_place.place_below(Path(out).expanduser(), folder)
seen = triage.triage(
    folder,
    report,
    without=without,
    strategy=strategy,
    kappa=kappa,
    image_size=image_size or None,
    shown=shown,
    source=source,
    seed=seed,
    members=members,
    second=second,
    profile=profile,
    strict=strict,
)
made_from = seen.describe(source)

# %% tags=["remove-input"]
notebook.say(triage.summary(seen, report))

# %% [markdown]
# ## What to look at first
#
# Images in a purple frame are flagged, those in a grey one are not. The yellow outline encloses what the
# detector finds strange; where nothing is strange enough for that, a cross marks the strangest place.
# Under each image are its rank and its score in units of the cut $t$.

# %% mystnb={"figure": {"name": "fig-contact-sheet", "caption": "The most suspicious images, in order. Outlines enclose what lies above equation 1 applied to the peaks of all maps."}, "image": {"alt": "A contact sheet of the most suspicious images in order, each with an outline around what is unusual in it, its rank and its score."}}
notebook.show(
    figures_triage.contact_sheet(
        seen.table, folder, seen.maps, seen.level, seen.threshold, made_from
    )
)

# %% tags=["remove-input"]
notebook.show_table(seen.table.head(10), "The first ten rows of the list", "tab-ranking")

# %% [markdown]
# `score` is that of all detectors together, in a unit of its own: the geometric mean of their scores, once these are on
# one scale. Where there are two kinds of them, a column for each holds its score alone,
# in units of its own cut: beyond 1 it would flag the image by itself. `peak_x` and `peak_y` say where the strangest patch lies.
#
# ## Where the cut falls
#
# The cut is the $t$ of equation {eq}`eq-threshold`, from the quartiles of all scores. If the curve has a
# step, some images are of another kind than the rest, and the exact place of the cut matters little. If
# it slopes without a step, there is no natural place for a cut: go down the list until looking no longer
# pays.

# %% mystnb={"figure": {"name": "fig-score-curve", "caption": "The scores of all images in descending order, in units of the cut, on a logarithmic axis. Crosses are flagged."}, "image": {"alt": "A falling curve of scores with a horizontal line at the cut; the points above it are crosses."}}
notebook.show(figures_triage.score_curve(seen.table, seen.threshold, made_from))

# %% [markdown]
# ## The report
#
# `report.html` holds all of this for a browser, in one file that loads nothing from elsewhere. In it you
# can mark images as *defective* or *fine*, filter and enlarge them, by mouse or keyboard, and save the
# marks as a CSV file. Here it is with its first images:

# %% tags=["remove-input"]
interactive.show_inline(
    triage.preview(seen, report, source),
    "The report, with its first images only; mark some, and save the list.",
    "fig-report",
    still=figures_triage.contact_sheet(
        seen.table, folder, seen.maps, seen.level, seen.threshold, made_from, count=8
    ),
)

# %% [markdown]
# ## Was it right?
#
# For your own folder nobody knows yet. For the mixture we do, and can hold the list against it.

# %% tags=["remove-input"]
notebook.say(triage.verdict(seen, truth))

# %% mystnb={"figure": {"name": "fig-triage-found", "caption": "Going down the list: how many of the defective images have been met. Dashed, a perfect order; dotted, a random one."}, "image": {"alt": "A rising staircase of defective images found against images looked at, between the perfect and the random order, with the cut."}}
known = seen.table.merge(truth[["path", "truth"]], on="path") if truth is not None else None
if known is not None and (known["truth"] == "anomalous").any():
    notebook.show(figures_triage.found_curve(known, made_from))

# %% [markdown]
# One draw of one category says little, and the example might have been picked. So here are all categories
# of the stand-in, with as many defective images hidden in each. The stand-ins are drawn to be hard:
# many of their defects are small, and odd but good images lie among them. *k* is the number of images that were hidden.

# %% tags=["remove-input"]
if not images:
    root = notebook.find_data("mvtec_ad")
    options = {"strategy": strategy, "kappa": kappa, "profile": profile, "members": members}
    options |= {"second": second, "image_size": image_size or None, "strict": strict}
    searched = {} if without else {category: triage.found(seen.table, truth)}
    mixtures = Path(out).expanduser() / "mixtures"
    table = triage.survey(root, defective, mixtures, seed, searched, **options)
    notebook.show_table(table, "Synthetic stand-in: what is found, one draw each", "tab-survey", 2)
    notebook.say(triage.survey_finding(table))

# %% [markdown]
# ## What to do next
#
# **Look at the flagged images**, from the top, and mark them. Flagged means *unlike the others*, not
# *defective*: even in a folder without a single defect some images are the most unusual. If the
# last flagged ones are still defective, go on past the cut; when a dozen in a row are fine, the
# rest will seldom repay the time.
#
# **Then run it again without the defective ones.** `without`, on the command line `--without`, takes
# the lists that reports have saved and leaves out what is marked defective there. With the grossest
# gone the quartiles are tighter, and subtler ones come up. A folder cleaned in this way is also a
# better training set.
#
# **Know what cannot be found like this.** A defect that many images share is usual by definition, most of
# all if a quarter of them have it, for then it enters the quartiles themselves. Marks too small to survive
# the resizing stay unseen; a larger `image_size` helps. A fault that only a specification reveals, such as
# a part that is missing everywhere, cannot be seen by a method that knows nothing but the folder. And in
# a folder of several products the rarer product is the anomaly: sort such folders by product first.
#
# The same from the command line, with a progress bar:
#
# ```console
# $ python -m comet_core.triage ~/photos --out report/
# ```
