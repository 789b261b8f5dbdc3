"""Two famous series of the time-series literature, one number a year."""

from __future__ import annotations

import numpy as np

__all__ = ["earthquakes", "nile"]

# 1871 to 1970. Cobb (1978), "The problem of the Nile: conditional solution to a changepoint problem".
_NILE = """
1120 1160 963 1210 1160 1160 813 1230 1370 1140 995 935 1110 994 1020 960 1180 799 958 1140 1100
1210 1150 1250 1260 1220 1030 1100 774 840 874 694 940 833 701 916 692 1020 1050 969 831 726 456 824
702 1120 1100 832 764 821 768 845 864 862 698 845 744 796 1040 759 781 865 845 944 984 897 822 1010
771 676 649 846 812 742 801 1040 860 874 848 890 744 749 838 1050 918 986 797 923 975 815 1020 906
901 1170 912 746 919 718 714 740
"""

# 1900 to 2006. Zucchini and MacDonald (2009), "Hidden Markov Models for Time Series", table 1.1.
_EARTHQUAKES = """
13 14 8 10 16 26 32 27 18 32 36 24 22 23 22 18 25 21 21 14 8 11 14 23 18 17 19 20 22 19 13 26 13 14
22 24 21 22 26 21 23 24 27 41 31 27 35 26 28 36 39 21 17 22 17 19 15 34 10 15 22 18 15 20 15 22 19
16 30 27 29 23 20 16 21 21 25 16 18 15 18 14 10 15 8 15 6 11 8 7 18 16 13 12 13 20 15 16 12 18 15 16
13 15 16 11 11
"""


def nile() -> np.ndarray:
    """The volume of the Nile at Aswan, in 10⁸ m³ a year, ``(100,)`` from 1871 to 1970.

    Example:
        >>> nile()[:3], nile().shape
        (array([1120., 1160.,  963.]), (100,))
    """
    return np.array(_NILE.split(), dtype=float)


def earthquakes() -> np.ndarray:
    """The number of earthquakes of magnitude 7 or more in the world, ``(107,)`` from 1900 to 2006.

    Example:
        >>> earthquakes()[:3], earthquakes().sum()
        (array([13, 14,  8]), np.int64(2072))
    """
    return np.array(_EARTHQUAKES.split(), dtype=np.int64)
