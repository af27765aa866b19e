"""The parts of `fit_telescope`, in the order in which a fit uses them.

- `config`: the settings of a fit, and its stages as arrays;
- `pair_sampler`: pairs of a data and a noise sample;
- `stage_model`: the model of the stages, and the standardization of their samples;
- `curvature`, `newton`: Newton's method; `descent`: gradient descent;
- `search`: the search for noise levels;
- `newton_methods`, `descent`: the three ways to train and assess all stages, chosen in `fit`;
- `errors`, `misfit`: standard errors, and the test of the stages' models;
- `result`: what is returned.
"""
