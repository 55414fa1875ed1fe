"""Synthetic loan applications, the same on every run: 614 with an answer, 367 without, with the null counts of the data they imitate."""

import numpy as np
import pandas as pd

COLUMNS = [
    "Gender",
    "Married",
    "Dependents",
    "Education",
    "Self_Employed",
    "ApplicantIncome",
    "CoapplicantIncome",
    "LoanAmount",
    "Loan_Amount_Term",
    "Credit_History",
    "Property_Area",
]
ID = "Loan_ID"
TARGET = "Loan_Status"

TRAINING_ROWS = 614
TEST_ROWS = 367
SEED = 42

_TRAINING_NULLS = {
    "Gender": 13,
    "Married": 3,
    "Dependents": 15,
    "Self_Employed": 32,
    "LoanAmount": 22,
    "Loan_Amount_Term": 14,
    "Credit_History": 50,
}
_TEST_NULLS = {
    "Gender": 11,
    "Dependents": 10,
    "Self_Employed": 23,
    "LoanAmount": 5,
    "Loan_Amount_Term": 6,
    "Credit_History": 29,
}


def load() -> tuple[pd.DataFrame, pd.DataFrame]:
    """(applications with `Loan_Status`, applications without): 614 x 13 and 367 x 12. Amounts are floats, for incomes have fractions."""
    random = np.random.default_rng(SEED)
    training = _blank(_applications(TRAINING_ROWS, random), _TRAINING_NULLS, random)
    test = _blank(_applications(TEST_ROWS, random).drop(columns=TARGET), _TEST_NULLS, random)
    return training, test


def _applications(rows: int, random: np.random.Generator) -> pd.DataFrame:
    def chosen(values: list[str], shares: list[float]) -> "np.ndarray":
        return random.choice(np.array(values, dtype=object), rows, p=shares)

    def amounts(log_mean: float, log_deviation: float) -> "np.ndarray":
        return np.exp(random.normal(log_mean, log_deviation, rows)).round()

    data = pd.DataFrame(
        {
            ID: [f"LP{1000 + number:06d}" for number in range(rows)],
            "Gender": chosen(["Male", "Female"], [0.81, 0.19]),
            "Married": chosen(["Yes", "No"], [0.65, 0.35]),
            "Dependents": chosen(["0", "1", "2", "3+"], [0.58, 0.17, 0.17, 0.08]),
            "Education": chosen(["Graduate", "Not Graduate"], [0.78, 0.22]),
            "Self_Employed": chosen(["No", "Yes"], [0.86, 0.14]),
            "ApplicantIncome": amounts(8.35, 0.6),
            "CoapplicantIncome": np.where(random.random(rows) < 0.45, 0.0, amounts(7.6, 0.5)),
            "LoanAmount": amounts(4.85, 0.45),
            "Loan_Amount_Term": random.choice(
                [360.0, 180.0, 480.0, 300.0, 120.0, 84.0], rows, p=[0.85, 0.07, 0.03, 0.03, 0.01, 0.01]
            ),
            "Credit_History": random.choice([1.0, 0.0], rows, p=[0.84, 0.16]),
            "Property_Area": chosen(["Urban", "Rural", "Semiurban"], [0.33, 0.29, 0.38]),
        }
    )
    income = data["ApplicantIncome"] + data["CoapplicantIncome"]
    burden = np.log(data["LoanAmount"] * 1000 / income / 30)
    score = (
        3 * data["Credit_History"]
        - 2
        + 0.5 * (data["Property_Area"] == "Semiurban")
        + 0.35 * (data["Married"] == "Yes")
        + 0.3 * (data["Education"] == "Graduate")
        - 0.4 * burden
        + random.logistic(0, 0.6, rows)
    )
    data[TARGET] = np.where(score > 0.35, "Y", "N")
    return data


def _blank(data: pd.DataFrame, nulls: dict[str, int], random: np.random.Generator) -> pd.DataFrame:
    for column, count in nulls.items():
        data.loc[random.choice(len(data), count, replace=False), column] = None
    return data
