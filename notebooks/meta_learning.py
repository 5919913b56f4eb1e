# %% [markdown]
# # Two loops, one step at a time
#
# Here you take equations {eq}`eq-inner` and {eq}`eq-outer` apart, the subject of Figure 4 of the paper
# {cite}`aqeel2025comet`, with a model so small that its loss is a landscape: two parameters, a point
# in the plane. The samples lie in the same plane, and the model guesses where. Everything is
# synthetic; every step is taken by {mod}`comet_core.meta`, the code that trains on images. At first all
# samples have the weight 1 and there is no penalty, so that you see the loops alone; weights and
# penalty come back further down.

# %% tags=["parameters"]
alpha: float = 0.25  # step of the inner loop
beta: float = 0.25  # step of the outer loop
tasks: int = 4  # tasks in one outer step
steps: int = 12  # outer steps in the pictures
lambda_0: float = 0.005  # regularisation at no uncertainty
gamma: float = 0.5  # what uncertainty adds to it
seed: int = 0  # of the samples
profile: str = "demo"  # smoke and demo do the same here: it takes seconds

# %%
import torch

from comet_core import (
    figures_meta,
    interactive,
    meta,
    notebook,
    teaching,
    uncertainty,
)

notebook.begin(globals())


def note(*made_with):
    about = ("synthetic samples", "two parameters", *made_with)
    return " · ".join((*about, f"seed {seed}"))


inner, outer, shared_by = (
    f"α = {alpha:g}",
    f"β = {beta:g}",
    f"{tasks} tasks",
)

# %% [markdown]
# ## One task
#
# A task is a handful of training samples, some of which are set aside for validation. The loss
# {func}`~comet_core.teaching.bowl_loss` is half the squared distance from $\theta$ to the samples,
# $\tfrac12 (\theta - x)^\top S\, (\theta - x)$ on average. The matrix $S$ makes it a bowl that is steep in one
# direction and shallow across it, as the losses of real networks are.

# %%
train, validation = teaching.bowl_tasks(tasks, seed=seed)
one = teaching.one_task(train, 0)
held_out = teaching.one_task(validation, 0)
theta = torch.tensor([-2.8, 1.6])
teaching.bowl_loss(teaching.at(theta), one)

# %% [markdown]
# ## One step
#
# The inner loop {eq}`eq-inner`: take the gradient of the training loss and walk against it, once by hand
# and once by the code. Both must end at the same $\theta'$.

# %%
place = theta.clone().requires_grad_()
loss = teaching.bowl_loss(teaching.at(place), one)
gradient = torch.autograd.grad(loss, place)[0]
by_hand = theta - alpha * gradient
by_code = meta.adapt(teaching.bowl_loss, teaching.at(theta), one, alpha)
by_hand, by_code["theta"].detach()

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-inner-step", "caption": "The training loss of one task as a landscape over the two parameters, light where it is low, and one inner step on it. It starts down the steep side, not straight towards the middle."}, "image": {"alt": "Contours of a slanted bowl with sample points and an arrow from theta to theta prime."}}
surface = teaching.bowl_surface(lambda p: teaching.bowl_loss(p, one))
step = ("inner", torch.stack([theta, by_hand]))
panel = figures_meta.Panel("training loss of one task", surface, [step], one[0])
notebook.show(figures_meta.descent([panel], note(inner, "one task")))

# %% [markdown]
# ## What was the step worth?
#
# The samples that were set aside tell, *after* the step: by the validation loss at $\theta'$. It is a
# function of $\theta$, since $\theta'$ is, and its gradient with respect to $\theta$ runs through the
# inner step. There are three ways to get that gradient: nudge $\theta$ a little and see (finite
# differences); let autograd differentiate through the step (second order); or pretend that $\theta'$
# moves exactly as $\theta$ does (first order). Two of the three will agree. Which?


# %%
def worth(parameters):
    adapted = meta.adapt(teaching.bowl_loss, parameters, one, alpha)
    return teaching.bowl_loss(adapted, held_out)


def worth_at(place):
    return worth(teaching.at(place)).detach()


nudges = 0.01 * torch.eye(2)
rises = [worth_at(theta + d) - worth_at(theta - d) for d in nudges]
nudged = torch.stack(rises) / 0.02
single = [[batch[None] for batch in part] for part in (one, held_out)]
first, second = (
    meta.meta_gradient(
        teaching.bowl_loss,
        teaching.at(theta),
        *single,
        alpha=alpha,
        order=order,
    ).gradient["theta"][0]
    for order in (1, 2)
)
print("finite differences", nudged.numpy().round(3))
print("second order      ", second.numpy().round(3))
print("first order       ", first.numpy().round(3))

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-through-the-step", "caption": "The validation loss after the inner step, as a landscape over the parameters before it, with a step against the first-order and one against the second-order gradient. The second-order step is perpendicular to the contour through its start; the first-order one leans."}, "image": {"alt": "Contours of the loss after adaptation, with two arrows from one point."}}
after = teaching.bowl_surface(worth)
arrows = [
    ("first order", torch.stack([theta, theta - beta * first])),
    ("second order", torch.stack([theta, theta - beta * second])),
]
title = "validation loss after the step"
panel = figures_meta.Panel(title, after, arrows, validation=held_out[0])
notebook.show(figures_meta.descent([panel], note(inner, outer, "one task")))

# %% [markdown]
# After the step the landscape is flatter along what was the steep direction: the inner step has already
# done that part of the work. First order does not know this. But it is cheaper by far, since nothing of
# the inner step has to be remembered, and it is the default of this book.
#
# ## Many tasks
#
# Each task has its own samples, its own bowl and its own $\theta'$. The outer loop {eq}`eq-outer`
# averages their gradients and moves $\theta$ once.


# %%
def course_from(start, parts, **choice):
    usual = {"alpha": alpha, "beta": beta, "steps": steps}
    settings = usual | choice
    return teaching.outer_course(start, lambda _: parts, **settings)


course = course_from(theta, (train, validation))

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-outer-step", "caption": "Above, one turn: from θ an inner step for every task, then one outer step for all. Below, the turns that follow. The landscape is the mean validation loss over the tasks, without inner step."}, "image": {"alt": "Two panels with contours. A fan of blue arrows leaves each black point of a path that leads to the middle."}}
everywhere = [one.flatten(0, 1) for one in validation]
shared = teaching.bowl_surface(lambda p: teaching.bowl_loss(p, everywhere))
made_with = note(inner, outer, shared_by)
fans = figures_meta.fans(course, shared)
notebook.show(figures_meta.descent(fans, made_with, columns=1))

# %% [markdown]
# Step through it yourself.

# %% tags=["remove-input"]
interactive.show_inline(
    interactive.loop_stepper(course, validation[0].reshape(-1, 2).mean(0)),
    "The same course, three positions of the slider a turn: before, inner steps (blue), outer step (bold).",
    "fig-turn-loops",
    still=figures_meta.descent(fans[1:], made_with),
)

# %% [markdown]
# No $\theta'$ is kept. The inner steps are trials, and $\theta$ learns from how they turn out.
#
# ## A sample that does not belong
#
# Put one anomalous sample into the training part of one task, and let all others agree. That task's
# $\theta'$ runs off towards it. But the outer step is judged on the validation part, which knows
# nothing of that sample and finds $\theta'$ too far out: $\theta$ does not follow, it even steps back. A
# plain step on all samples follows. The numbers are how far each moves towards the sample.

# %%
theirs = torch.tensor([1.0, -0.5])  # where all others lie
away = teaching.STRAY - theirs
ends = {}
for weight in (1.0, 0.2):
    parts = teaching.stray_tasks(tasks, weight, seed)
    turn = course_from(theirs, parts, beta=1.0, steps=1)
    ends[weight] = {
        "inner": turn[0].adapted[0],
        "theta": turn[1].theta,
        "plain step": teaching.plain_step(theirs, parts, 1.0),
    }
    for name, end in ends[weight].items():
        moved = (end - theirs) @ away / away.norm()
        print(f"weight {weight:g}, {name:10}: {moved:+.2f}")

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-stray", "caption": "One step from where all other samples lie. One task has an anomalous sample in its training part, which lies beyond the upper right corner; left at full weight, right at a weight of 0.2. Shown are the θ′ of that task, θ after the outer step and θ after a plain step on all samples."}, "image": {"alt": "Two panels. At full weight the inner step and the plain step lead to the upper right, the outer step a little the other way; at the smaller weight all three are short."}}
panels = []
known = teaching.one_task(parts[1], 0)
nominal = teaching.bowl_surface(lambda p: teaching.bowl_loss(p, known))
for weight, reached in ends.items():
    (samples, _), _ = teaching.stray_tasks(tasks, weight, seed)
    paths = [(name, torch.stack([theirs, end])) for name, end in reached.items()]
    title, near = f"weight {weight:g}", ((0.2, 2.2), (-1.15, 0.35))
    panels.append(figures_meta.Panel(title, nominal, paths, samples[0], view=near))
notebook.show(figures_meta.descent(panels, note(inner, "β = 1", shared_by)))

# %% [markdown]
# Here the weights come back: with 0.2 the sample pulls a fifth as hard, in the plain step and in the
# inner loop alike. What then moves is in part due to the other samples, which do not all lie in one place;
# exercise 4 takes that apart. The two ideas of CoMet meet in this picture: where the weights have taken the sample
# out, the loops have less left to do. Which of the two does the work on images? {doc}`ablation` asks
# that; the inner steps are far shorter there than here.
#
# ## First against second order

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-orders", "caption": "The path of θ with first-order and with second-order meta-gradients, for the α of this page and for one twice as large. Dots are outer steps."}, "image": {"alt": "Two panels with contours and two paths each, which differ more in the second."}}
panels = []
for step_size in (alpha, 2 * alpha):
    both = []
    for order, name in ((1, "first order"), (2, "second order")):
        parts = (train, validation)
        path = course_from(theta, parts, alpha=step_size, order=order)
        both.append((name, torch.stack([one.theta for one in path])))
    panels.append(figures_meta.Panel(f"α = {step_size:g}", shared, both))
notebook.show(figures_meta.descent(panels, note(outer, shared_by)))

# %% [markdown]
# ## When α is too large
#
# The inner loop is gradient descent and obeys its law: along a direction of curvature $s$ (an eigenvalue
# of $S$) a step multiplies the distance to the middle by $1 - \alpha s$. Beyond $\alpha = 2/s$ the size of
# that factor exceeds 1, and every step makes things worse.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-alpha", "caption": "Eight inner steps on one task for four values of α, as shares of the largest that does not diverge. Small: slow. Medium: straight to the valley. Near the limit: from wall to wall. Beyond: further out with every step."}, "image": {"alt": "Four panels with paths on the same bowl, the last of which swings ever wider."}}
limit = 2 / torch.linalg.eigvalsh(teaching.STIFFNESS).max().item()
panels = [
    figures_meta.Panel(
        f"{share:g} of the limit",
        surface,
        [("inner", teaching.inner_course(theta, one, share * limit, 8))],
    )
    for share in (0.1, 0.5, 0.95, 1.05)
]
notebook.show(figures_meta.descent(panels, note("one task")))

# %% [markdown]
# Long before that, the two meta-gradients part. At half the limit the inner step lands on the valley
# floor of its task wherever it starts, so nothing is gained by moving $\theta$ across the valley. The
# second-order gradient knows that and has no such component; the first-order one keeps the difference
# between the training and the validation part. With a longer step $\theta'$ lands on the opposite wall, and
# the components across the valley have opposite signs. As long as they are small beside those along it,
# the two gradients still agree; near the limit they are not small.

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-order-angle", "caption": "First- and second-order meta-gradients compared over α: above, the cosine of the angle between them (1: same direction, negative: against each other); below, the ratio of their lengths."}, "image": {"alt": "Two panels of one curve each over alpha. The cosine falls from one, comes back to nearly one beyond half the limit and then falls below zero; the ratio falls, and rises near the limit."}}
angles = teaching.order_angles(
    theta,
    train,
    validation,
    torch.linspace(0.01, 1.15 * limit, 60).tolist(),
)
notebook.show(figures_meta.orders(angles, limit, note(shared_by)))

# %% tags=["remove-input"]
notebook.say(teaching.orders_in_words(angles, limit))

# %% [markdown]
# ## How sure is the model? λ(Σ)
#
# Now the penalty comes back, or rather its strength. Every task yields a pair: its training loss and its
# validation loss, both at its $\theta'$. Where the samples agree with each other, the pairs lie close
# together. Where some do not belong, it matters which part of a task they fall into, and the pairs
# scatter. Equation {eq}`eq-sigma` measures that scatter, and {eq}`eq-lambda` turns its determinant into
# the strength of the regularisation.


# %%
def pairs(anomalous):
    seeds = range(1000 * seed, 1000 * seed + steps + 1)
    drawn = [teaching.bowl_tasks(tasks, anomalous, one) for one in seeds]
    course = teaching.outer_course(
        torch.tensor([1.0, -0.5]),
        drawn.__getitem__,
        alpha=alpha,
        beta=0.05,
        steps=steps,
    )
    return teaching.loss_pairs(course)


clean, dirty = pairs(0), pairs(2)
for name, (on_train, on_val) in (("clean", clean), ("dirty", dirty)):
    sigma = uncertainty.loss_covariance(on_train, on_val)
    spread = uncertainty.determinant(sigma)
    strength = uncertainty.adaptive_lambda(sigma, lambda_0, gamma)
    print(
        f"{name}: det Σ = {spread:.3g},",
        f"λ = {strength:.5f} = {strength / lambda_0:.2f} λ0",
    )

# %% tags=["hide-input"] mystnb={"figure": {"name": "fig-sigma", "caption": "Pairs of training and validation loss of tasks, each a point, from clean samples and with two anomalous samples in every step. Ellipses: two standard deviations; the determinant is, but for a factor, their squared area."}, "image": {"alt": "Scatter of loss pairs in two colours, each with an ellipse; the dirty ones spread further."}}
scatter = {"clean": clean, "two anomalous samples": dirty}
about = note(inner, "β = 0.05", shared_by, "from (1, −0.5)")
notebook.show(figures_meta.loss_scatter(scatter, about))

# %% [markdown]
# Do not expect this of images. The losses of this toy are large, and so is their determinant. Those of
# the trained detectors are small, and their $\lambda$ hardly leaves $\lambda_0$; {doc}`noise_curves` measures
# that under *Does the model notice?*

# %% [markdown]
# ## Exercises
#
# **1.** The limit above was $2/s$ with the largest curvature $s$. Check it by trial: run the inner loop for
# many steps with an $\alpha$ just below the limit and one just above.

# %% tags=["hide-cell", "solution"]
middle = one[0].mean(0)
for share in (0.98, 1.02):
    path = teaching.inner_course(theta, one, share * limit, 400)
    far = (path[-1] - middle).norm()
    print(f"{share} of the limit: {far:.3g} from the middle")
    assert (far < 0.1) == (share < 1)

# %% [markdown]
# **2.** For this bowl the second-order meta-gradient can be written down: it is the first-order one
# times a matrix made of $\alpha$ and $S$. Which? Check it.

# %% tags=["hide-cell", "solution"]
# theta' = theta - alpha S (theta - mean), so d theta' / d theta = I - alpha S.
jacobian = torch.eye(2) - alpha * teaching.STIFFNESS
torch.testing.assert_close(second, jacobian @ first)
assert torch.allclose(second, nudged, atol=1e-2)
print("second order =", (jacobian @ first).numpy().round(3))

# %% [markdown]
# **3.** Which $\gamma$ makes the regularisation on the dirty samples exactly twice $\lambda_0$?

# %% tags=["hide-cell", "solution"]
# lambda_0 (1 + gamma det) = 2 lambda_0 where gamma = 1 / det.
sigma = uncertainty.loss_covariance(*dirty)
doubling = 1 / uncertainty.determinant(sigma).item()
doubled = uncertainty.adaptive_lambda(sigma, 0.01, doubling).item()
assert abs(doubled - 0.02) < 1e-6
print(f"gamma = {doubling:.3g}")

# %% [markdown]
# **4.** Let the weight of the sample that does not belong rise from 0 to 1. A move at weight 0 is what the
# other samples ask for; take that away. Which way does more weight move $\theta$ in the outer step, and which
# way in the plain step? Why?

# %% tags=["hide-cell", "solution"]
moves = []
for weight in (0.0, 0.25, 0.5, 0.75, 1.0):
    parts = teaching.stray_tasks(tasks, weight, seed)
    turn = course_from(theirs, parts, beta=1.0, steps=1)
    plain = teaching.plain_step(theirs, parts, 1.0)
    both = torch.stack([turn[1].theta, plain])
    moves.append((both - theirs) @ away / away.norm())
extra = torch.stack(moves) - moves[0]
print("outer step", extra[:, 0].numpy().round(3))
print("plain step", extra[:, 1].numpy().round(3))
# The plain gradient contains the sample: the step goes towards it.
# The outer step meets it only in theta', which it has pulled too far
# out, so that the validation samples pull theta back.
assert (extra[1:, 0] < 0).all() and (extra[1:, 1] > 0).all()
