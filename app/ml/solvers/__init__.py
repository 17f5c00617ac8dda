"""Solvers: what a head learns on fixed features at once instead of step by step, mostly the best linear weights.

`logistic` (one of several classes), `multi_label` (each label there or not), `ridge` and `regression` (numbers) share
`basis` (principal axes of the features), `regularization_path` (the penalty by cross-validation) and `lbfgs`.

Trees are grown by scikit-learn (`trees`). Why not linear weights, too, by it or scipy:

- Classes may be soft (label smoothing, pseudo-labels), each label may be missing in other rows under one common
  penalty, and each fold may have pseudo-labels that were made without what it holds out. scikit-learn's
  `LogisticRegression` takes one hard class a row, and `LogisticRegressionCV` the same labels in every fold.
- All penalties and folds share one eigendecomposition: min(N, F) variables instead of F, and a spectrum that scales
  them. The folds are solved side by side in the same matrix products, each with its own step length, and the path
  ends where the held-out loss rises. `scipy.optimize.minimize` sees one vector, so each fold would be a call.
- The path is solved in float32 to what a comparison of losses needs; the last solve, in float64 where the problem is
  small, begins at the mean of the folds' optima.
- Features stay on their device; scipy's L-BFGS computes on the CPU, and would copy at each evaluation. Sums of squares
  are float64, block by block.

The optimum is theirs: `tests/unit/ml/test_solvers.py` compares with scikit-learn. `python -m bench.solvers` times both
side by side (docs/figures.md).
"""
