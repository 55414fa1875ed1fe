"""The loan model's own transformer. Its source is stored in the model's package and loaded from there."""

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

CODES = {
    "Gender": {"Female": 0, "Male": 1},
    "Married": {"No": 0, "Yes": 1},
    "Dependents": {"0": 0, "1": 1, "2": 2, "3+": 3},
    "Education": {"Graduate": 0, "Not Graduate": 1},
    "Self_Employed": {"No": 0, "Yes": 1},
    "Property_Area": {"Rural": 0, "Urban": 1, "Semiurban": 2},
}


class LoanPreprocessing(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Fills what an applicant left open (the means are those of the training rows) and turns categories into codes."""

    def fit(self, applications: pd.DataFrame, granted: object = None) -> "LoanPreprocessing":  # noqa: ARG002  scikit-learn's signature
        self.amount_mean_ = float(applications["LoanAmount"].mean())
        self.term_mean_ = float(applications["Loan_Amount_Term"].mean())
        return self

    def transform(self, applications: pd.DataFrame) -> np.ndarray:
        """A float matrix, one row an application, columns in their order."""
        filled = applications.copy()
        defaults = {
            "Gender": "Male",
            "Married": "No",
            "Dependents": "0",
            "Self_Employed": "No",
            "LoanAmount": self.amount_mean_,
            "Loan_Amount_Term": self.term_mean_,
            "Credit_History": 1.0,
        }
        for column, value in defaults.items():
            filled[column] = filled[column].fillna(value)
        for column, codes in CODES.items():
            filled[column] = filled[column].map(codes)
        matrix: np.ndarray = filled.to_numpy(dtype=float)
        return matrix
