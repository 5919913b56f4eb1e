# %% [markdown]
# # Two loops, one step at a time
#
# Equations {eq}`eq-inner` and {eq}`eq-outer`, and Figure 4 of the paper {cite}`aqeel2025comet`, for
# a model so small that its loss is a landscape: two parameters, a point in the plane. The samples
# lie in the same plane, and the model guesses where. Everything is synthetic; every step is taken
# by {mod}`comet_core.meta`, the code that trains on images.

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

from comet_core import figures_meta, interactive, meta, notebook, teaching, uncertainty

notebook.begin(globals())
note = f"synthetic samples · two parameters · α = {alpha:g}, β = {beta:g} · {tasks} tasks · seed {seed}"

# %% [markdown]
# ## One task
#
# A task is a handful of training samples, some of which are set aside for validation. The loss
# {func}`~comet_core.teaching.bowl_loss` is half the squared distance from $\theta$ to the samples,
# measured in a metric $S$ that is steep in one direction and shallow across it, as the losses of
# real networks are.

# %%
train, validation = teaching.bowl_tasks(tasks, seed=seed)
one, held_out = teaching.one_task(train, 0), teaching.one_task(validation, 0)
theta = torch.tensor([-2.8, 1.6])
teaching.bowl_loss(teaching.at(theta), one)

# %% [markdown]
# ## One step
#
# The inner loop {eq}`eq-inner`: take the gradient of the training loss and walk against it.

# %%
place = theta.clone().requires_grad_()
gradient = torch.autograd.grad(teaching.bowl_loss(teaching.at(place), one), place)[0]
by_hand = theta - alpha * gradient
by_hand, meta.adapt(teaching.bowl_loss, teaching.at(theta), one, alpha)["theta"].detach()

# %% mystnb={"figure": {"name": "fig-inner-step", "caption": "The training loss of one task as a landscape over the two parameters, light where it is low, and one inner step on it. It starts down the steep side, not straight towards the middle."}, "image": {"alt": "Contours of a slanted bowl with sample points and an arrow from theta to theta prime."}}
surface = teaching.bowl_surface(lambda p: teaching.bowl_loss(p, one))
step = ("inner", torch.stack([theta, by_hand]))
notebook.show(
    figures_meta.descent(
        [figures_meta.Panel("training loss of one task", surface, [step], one[0])], note
    )
)

# %% [markdown]
# ## What was the step worth?
#
# That is asked on the samples that were set aside, and *after* the step: the validation loss at
# $\theta'$. It is a function of $\theta$, since $\theta'$ is. Its gradient with respect to
# $\theta$ runs through the inner step. Three ways to get it: nudge $\theta$ a little and see
# (finite differences); let autograd differentiate through the step (second order); or pretend that
# $\theta'$ moves exactly as $\theta$ does (first order).


# %%
def worth(parameters):
    adapted = meta.adapt(teaching.bowl_loss, parameters, one, alpha)
    return teaching.bowl_loss(adapted, held_out)


nudge = 0.01 * torch.eye(2)
nudged = torch.stack(
    [(worth(teaching.at(theta + d)) - worth(teaching.at(theta - d))).detach() / 0.02 for d in nudge]
)
single = [batch[None] for batch in one], [batch[None] for batch in held_out]
first, second = (
    meta.meta_gradient(
        teaching.bowl_loss, teaching.at(theta), *single, alpha=alpha, order=order
    ).gradient["theta"][0]
    for order in (1, 2)
)
print("finite differences", nudged.numpy().round(3))
print("second order      ", second.numpy().round(3))
print("first order       ", first.numpy().round(3))

# %% mystnb={"figure": {"name": "fig-through-the-step", "caption": "The validation loss after the inner step, as a landscape over the parameters before it, with a step against the first-order and one against the second-order gradient. The second-order step is perpendicular to the contour through its start; the first-order one leans."}, "image": {"alt": "Contours of the loss after adaptation, with two arrows from one point."}}
after = teaching.bowl_surface(worth)
arrows = [
    ("first order", torch.stack([theta, theta - beta * first])),
    ("second order", torch.stack([theta, theta - beta * second])),
]
notebook.show(
    figures_meta.descent(
        [
            figures_meta.Panel(
                "validation loss after the step", after, arrows, validation=held_out[0]
            )
        ],
        note,
    )
)

# %% [markdown]
# The landscape after the step is flatter along the steep direction: the inner step has already done
# that part of the work. First order does not know this. It is cheaper by far, since nothing has to be
# remembered of the inner step, and it is the default of this book.
#
# ## Many tasks
#
# Each task has its own samples, its own bowl and its own $\theta'$. The outer loop
# {eq}`eq-outer` averages what they ask for and moves $\theta$ once.

# %%
course = teaching.outer_course(
    theta, lambda number: (train, validation), alpha=alpha, beta=beta, steps=steps
)

# %% mystnb={"figure": {"name": "fig-outer-step", "caption": "Above, one turn: from theta an inner step for every task, then one outer step for all. Below, the turns that follow. The landscape is the mean validation loss over the tasks, without inner step."}, "image": {"alt": "Two panels with contours. A fan of blue arrows leaves each black point of a path that leads to the middle."}}
shared = teaching.bowl_surface(
    lambda p: (
        sum(teaching.bowl_loss(p, teaching.one_task(validation, task)) for task in range(tasks))
        / tasks
    )
)
notebook.show(figures_meta.descent(figures_meta.fans(course, shared), note, columns=1))

# %% [markdown]
# Step through it yourself.

# %% tags=["remove-input"]
interactive.show_inline(
    interactive.loop_stepper(course, validation[0].reshape(-1, 2).mean(0)),
    "The same course, three positions of the slider a turn: before, inner steps (blue), outer step (bold).",
    "fig-turn-loops",
    still=figures_meta.descent(figures_meta.fans(course, shared)[1:], note),
)

# %% [markdown]
# No $\theta'$ is kept. They are trial steps, and $\theta$ learns from how they turned out.
#
# ## First against second order

# %% mystnb={"figure": {"name": "fig-orders", "caption": "The path of theta with first-order and with second-order meta-gradients, for the alpha of this page and for one twice as large. Dots are outer steps."}, "image": {"alt": "Two panels with contours and two paths each, which differ more in the second."}}
panels = []
for step_size in (alpha, 2 * alpha):
    both = [
        (
            f"{name} order",
            torch.stack(
                [
                    one.theta
                    for one in teaching.outer_course(
                        theta,
                        lambda number: (train, validation),
                        alpha=step_size,
                        beta=beta,
                        order=order,
                        steps=steps,
                    )
                ]
            ),
        )
        for order, name in ((1, "first"), (2, "second"))
    ]
    panels.append(figures_meta.Panel(f"α = {step_size:g}", shared, both))
notebook.show(figures_meta.descent(panels, note.replace(f"α = {alpha:g}, ", "")))

# %% [markdown]
# ## When α is too large
#
# The inner loop is gradient descent and obeys its law: along a direction of curvature $s$ a step
# multiplies the distance to the middle by $1 - \alpha s$. Beyond $\alpha = 2/s$ that is larger than 1
# in size, and every step makes things worse.

# %% mystnb={"figure": {"name": "fig-alpha", "caption": "Eight inner steps on one task for four values of alpha, as shares of the largest that does not diverge. Small: slow. Medium: straight to the valley. Near the limit: from wall to wall. Beyond: further out with every step."}, "image": {"alt": "Four panels with paths on the same bowl, the last of which swings ever wider."}}
limit = 2 / torch.linalg.eigvalsh(teaching.STIFFNESS).max().item()
panels = [
    figures_meta.Panel(
        f"{share:g} of the limit",
        surface,
        [("inner", teaching.inner_course(theta, one, share * limit, 8))],
    )
    for share in (0.1, 0.5, 0.95, 1.05)
]
notebook.show(figures_meta.descent(panels, note.replace(f"α = {alpha:g}, ", "")))

# %% [markdown]
# Long before that, the two meta-gradients part. At half the limit the inner step lands on the valley
# floor from wherever it starts, so that nothing can be gained by moving $\theta$ across the valley:
# the second-order gradient has no such component, the first-order one still has. Further on the step
# lands on the opposite wall, and there the two pull in opposite directions.

# %% mystnb={"figure": {"name": "fig-order-angle", "caption": "First- and second-order meta-gradients compared: the cosine of the angle between them (1: same direction, negative: against each other), and the ratio of their lengths, over alpha."}, "image": {"alt": "Two curves over alpha, starting at one and falling, with a dashed line where the inner loop diverges."}}
angles = teaching.order_angles(
    theta, train, validation, torch.linspace(0.01, 1.15 * limit, 60).tolist()
)
notebook.show(figures_meta.orders(angles, limit, note.replace(f"α = {alpha:g}, ", "")))

# %% [markdown]
# ## How sure is the model? λ(Σ)
#
# Every task yields a pair: its training loss and its validation loss, both at its $\theta'$. Where the
# samples agree with each other, the pairs lie close together. Where some do not belong, it matters
# which side of a task they fall on, and the pairs scatter. Equation {eq}`eq-sigma` measures that
# scatter, and {eq}`eq-lambda` turns its determinant into the strength of the regularisation.


# %%
def pairs(anomalous):
    drawn = [
        teaching.bowl_tasks(tasks, anomalous, seed=1000 * seed + number)
        for number in range(steps + 1)
    ]
    course = teaching.outer_course(
        torch.tensor([1.0, -0.5]), drawn.__getitem__, alpha=alpha, beta=0.05, steps=steps
    )
    return teaching.loss_pairs(course)


clean, dirty = pairs(0), pairs(2)
for name, (on_train, on_val) in (("clean", clean), ("dirty", dirty)):
    sigma = uncertainty.loss_covariance(on_train, on_val)
    strength = uncertainty.adaptive_lambda(sigma, lambda_0, gamma)
    print(
        f"{name}: det Σ = {uncertainty.determinant(sigma):.3g}, λ = {strength:.5f} = {strength / lambda_0:.2f} λ0"
    )

# %% mystnb={"figure": {"name": "fig-sigma", "caption": "Pairs of training and validation loss of tasks, each a point, from clean samples and with two anomalous samples in every step. Ellipses: two standard deviations; the determinant is, but for a factor, their squared area."}, "image": {"alt": "Scatter of loss pairs in two colours, each with an ellipse; the dirty ones spread further."}}
notebook.show(figures_meta.loss_scatter({"clean": clean, "two anomalous samples": dirty}, note))

# %% [markdown]
# ## Exercises
#
# **1.** The limit above was $2/s$ with the largest curvature. Find it by trial: run the inner loop
# for many steps with an $\alpha$ just below and one just above.

# %% tags=["hide-cell", "solution"]
middle = one[0].mean(0)
for share in (0.98, 1.02):
    far = (teaching.inner_course(theta, one, share * limit, 400)[-1] - middle).norm()
    print(f"{share} of the limit: after 400 steps {far:.3g} from the middle")
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
# **3.** Which $\gamma$ doubles the regularisation on the dirty samples?

# %% tags=["hide-cell", "solution"]
# lambda_0 (1 + gamma det) = 2 lambda_0 where gamma = 1 / det.
sigma = uncertainty.loss_covariance(*dirty)
doubling = 1 / uncertainty.determinant(sigma).item()
assert abs(uncertainty.adaptive_lambda(sigma, 0.01, doubling).item() - 0.02) < 1e-6
print(f"gamma = {doubling:.3g}")
