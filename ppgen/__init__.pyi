from . import data as data
from . import errors as errors
from . import evaluation as evaluation
from . import inference as inference
from . import models as models
from . import plots as plots
from . import program as program
from . import reports as reports
from . import workflow as workflow
from .evaluation.scorecard import Scorecard as Scorecard
from .evaluation.scoring import evaluate as evaluate
from .inference.citations import cite as cite
from .inference.infer import infer as infer
from .inference.posterior import Posterior as Posterior
from .inference.training.train import train as train
from .models.files import load as load
from .models.files import save as save
from .reports.report import report as report

__version__: str
