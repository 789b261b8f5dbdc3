from .languages.detect import detect_engine as detect_engine
from .languages.language import Language as Language
from .languages.language import register_language as register_language
from .languages.statement import Statement as Statement
from .read import read_density as read_density
from .read import read_sites as read_sites
