"""Simulation-based calibration: is a truth that is drawn from the prior an ordinary draw of its posterior?"""

from ppgen.workflow.calibration.calibrate import calibrate
from ppgen.workflow.calibration.result import Calibration

__all__ = ["Calibration", "calibrate"]
