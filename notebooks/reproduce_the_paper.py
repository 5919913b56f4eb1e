# %% [markdown]
# # Reproduce the paper
#
# Nothing in this book is the paper's experiment in the paper's size: the images of its data sets are
# not ours to embed, and its backbones and epochs take too long for the building of a book. But every
# notebook takes the published data and the profile `paper` as parameters. This chapter lists the
# calls, says what they will cost, and shows their results as soon as the results store holds them.

# %% tags=["parameters"]
profile: str = "demo"  # smoke times small sizes; demo and paper time the published ones
sizes: list[int] = [2, 3, 4]  # numbers of images to time; two at least
store: str = ""  # results store to look into; empty: that of all notebooks

# %%
from comet_core import figures_evidence, noise, notebook, reproduction, scaling, table_files, tables

notebook.begin(globals())
timed = "smoke" if profile == "smoke" else "paper"

# %% [markdown]
# ## The data
#
# Download the archives from their owners' pages, which ask you to accept a licence; each script below
# prints the address when called without an archive. Then put each data set in place. The scripts check
# sizes and counts where the owner publishes them. The layout of VIADUCT could not be verified.
#
# ```console
# $ python data_scripts/get_mvtec_ad.py \
#       --archive mvtec_anomaly_detection.tar.xz --out data/mvtec_ad
# $ python data_scripts/get_ksdd2.py --archive KolektorSDD2.zip --out data/ksdd2
# $ python data_scripts/get_viaduct.py \
#       --archive downloads/viaduct/*.zip --out data/viaduct
# ```
#
# ## The calls
#
# The two tables, five seeds each:
#
# ```console
# $ papermill -k python3 notebooks/results_tables.ipynb results_tables_paper.ipynb \
#       -p profile paper -p data_root data -p exports tables \
#       -p datasets '["mvtec_ad", "viaduct", "ksdd2"]'
# ```
#
# The noise curves, with every part of the method, and the weights of the training images:
#
# ```console
# $ papermill -k python3 notebooks/noise_curves.ipynb noise_curves_paper.ipynb \
#       -p profile paper -p data_root data -p datasets '["mvtec_ad", "ksdd2_clean"]'
# $ papermill -k python3 notebooks/weight_gallery.ipynb weight_gallery_paper.ipynb \
#       -p profile paper -p data_root data/mvtec_ad
# ```
#
# A call that was interrupted goes on where it stopped, and runs that two calls share are computed
# once. To begin small, name `categories` and `seeds`: `-p categories bottle -p seeds 0`. With many
# machines, give each call the address of a Dask scheduler, `-p engine tcp://host:port`.
#
# The profile `paper` has the backbones, image sizes, epochs and widths that the base detectors were
# published with ({doc}`/method/detectors`). The rest stays ours: features are standardised, computed
# once and kept, so SimpleNet's noise has another unit; its batches are of 24 images; rotations are
# evenly spaced rather than random; and results are those of the last epoch.

# %% [markdown]
# ## What they will cost
#
# An epoch and the passes of the backbone are timed here in the published sizes on a few images, each
# twice; the shorter time counts. The time then grows along a straight line. Times are *core* seconds:
# divide by the number of cores.

# %% mystnb={"figure": {"name": "fig-scaling", "caption": "Processor time on this machine over the number of images, in the published sizes (in the smoke profile, in its own), with least-squares lines. Features are made up and downloaded backbones untrained, which changes no time."}, "image": {"alt": "Two panels of core seconds against images: features of both detectors, and an epoch of both detectors, plain and CoMet, each with a line through three points."}}
training = scaling.training_times(timed, sizes)
extraction = scaling.extraction_times(timed, sizes)
made_from = f"measured on this machine · profile {timed} · core seconds"
notebook.show(figures_evidence.scaling(training, extraction, made_from))

# %% [markdown]
# Extended to the published numbers of images and epochs, this makes so many core hours: *features* once
# for all runs; *plain* and *CoMet* for one seed over all categories; *tables* and *curves* for all runs
# of theirs. The last column is the main memory that the training samples of the largest category take,
# which decides how many runs fit beside each other. All are rounded to two digits. Where a line misses
# one of its points by more than a fifth, there is a dash: nothing follows from such a line.

# %% tags=["remove-input"]
notebook.show_table(
    scaling.readable(scaling.estimates(training, extraction, timed)),
    "Estimated core hours of the published data sets, about, and memory in GiB",
    "tab-scaling",
)

# %% [markdown]
# These are estimates: a processor slows down when all its cores work, decoding is left out, and a
# line through a few images is trusted for thousands. **GPU:** with `COMET_DEVICE=cuda` everything but
# the memory banks and the mutual scores of CoMet+ runs there ({doc}`/use/rerun`). {numref}`tab-gpu` of the
# chapter on speed has what that gains in these sizes, and the memory it takes.

# %% [markdown]
# ## What has come back
#
# We search the store for runs of the unchanged profile `paper` on data that are not synthetic. Nothing
# below is typed in: if there are such runs, they are here.

# %% tags=["remove-input"]
found = reproduction.stored("paper", store or None)
paired = reproduction.for_tables(found)
curves = reproduction.for_curves(found)
notebook.say(
    f"The store holds {len(found)} such runs, of which {len(paired)} are for the tables and "
    f"{len(curves)} for the curves."
    + ("" if len(found) else " When one of the calls above has run, build the book again.")
)

# %% tags=["remove-input"]
if len(paired):
    both = tables.beside(paired, tuple(tables.COLUMNS))
    caption = "Reported and measured in the published sizes, in percent"
    text = tables.flat(tables.readable(both))
    notebook.show_table(text, caption, "tab-reproduced", runs=paired)
    table_files.offer(both, "reproduced", caption)
    notebook.say(tables.finding(both))

# %% tags=["remove-input"]
if len(curves):
    rows = noise.prepared(curves)
    notebook.show_table(
        noise.loss_table(rows),
        "I-AUROC in points, in the published sizes",
        "tab-reproduced-losses",
        runs=curves,
    )
    notebook.say(noise.findings(rows))

# %% tags=["remove-input"]
if len(found):
    notebook.show_runs(found)
