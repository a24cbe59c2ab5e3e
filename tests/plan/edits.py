"""Texts of modules that define `service`, each with an 'A' somewhere: an edit makes a 'B' of it."""

from __future__ import annotations

NAMED = {
    "method of an instance": """
class Rule:
    def f(self, x): return x + 'A'
R = Rule()
def service(x): return R.f(x)
""",
    "attribute of an instance": """
class Rule:
    def __init__(self): self.add = 'A'
R = Rule()
def service(x): return x + R.add
""",
    "dataclass that is not frozen": """
from dataclasses import dataclass
@dataclass
class Limits:
    most: str = 'A'
LIMITS = Limits()
def service(x): return LIMITS.most
""",
    "default of a dataclass": """
from dataclasses import dataclass, field
@dataclass
class Limits:
    most: list = field(default_factory=lambda: ['A'])
def service(x): return Limits().most
""",
    "pydantic settings": """
from pydantic import BaseModel
class Settings(BaseModel):
    suffix: str = 'z'
S = Settings(suffix='A')
def service(x): return x + S.suffix
""",
    "default of pydantic settings": """
from pydantic import BaseModel
class Settings(BaseModel):
    suffix: str = 'A'
def service(x): return x + Settings().suffix
""",
    "validator of a pydantic model": """
from pydantic import BaseModel, field_validator
class Model(BaseModel):
    x: str
    @field_validator('x')
    @classmethod
    def check(cls, x): return x + 'A'
def service(x): return Model(x=x).x
""",
    "function in a dict": """
def plus(x): return x + 'A'
TABLE = {'plus': plus}
def service(x): return TABLE['plus'](x)
""",
    "function in a list": """
def plus(x): return x + 'A'
STEPS = [str.strip, plus]
def service(x):
    for step in STEPS: x = step(x)
    return x
""",
    "function in a class attribute": """
def plus(x): return x + 'A'
class Rules:
    step = staticmethod(plus)
    steps = [plus]
def service(x): return Rules.steps[0](x)
""",
    "import in a body": """
def service(x):
    import edited_rules
    return edited_rules.value(x)
""",
    "import from in a body": """
def service(x):
    from edited_rules import value
    return value(x)
""",
    "import of a submodule": """
import edited_package.sub
def service(x): return edited_package.sub.value(x)
""",
    "own decorator": """
import functools
def adding(function):
    @functools.wraps(function)
    def wrapper(x): return function(x) + 'A'
    return wrapper
@adding
def service(x): return x
""",
    "what an own decorator wraps": """
import functools
def adding(function):
    @functools.wraps(function)
    def wrapper(x): return function(x) + 'z'
    return wrapper
@adding
def service(x): return x + 'A'
""",
    "numpy array": "import numpy as np\nW = np.array([1.0, ord('A')])\ndef service(x): return x * W[1]",
    "numpy array of objects": """
import numpy as np
W = np.array(['A', None], dtype=object)
def service(x): return W[0]
""",
    "large numpy array": """
import numpy as np
W = np.zeros(1_000_000)
W[500_000] = ord('A')
def service(x): return x * W[1]
""",
    "series": "import pandas as pd\nS = pd.Series([1, 2], index=['z', 'A'])\ndef service(x): return S[x]",
    "frame": "import pandas as pd\nS = pd.DataFrame({'a': [1, 2], 'b': ['A', None]})\ndef service(x): return S['a'][x]",
    "arrow table": "import pyarrow as pa\nT = pa.table({'a': ['A', None]})\ndef service(x): return T['a'][0]",
    "mapping proxy": "from types import MappingProxyType as P\nM = P({'a': 'A'})\ndef service(x): return M['a']",
    "simple namespace": "from types import SimpleNamespace as N\nM = N(a='A')\ndef service(x): return M.a",
    "singledispatch": """
import functools
@functools.singledispatch
def told(x): return 'z'
@told.register
def _(x: int): return 'A'
def service(x): return told(x)
""",
}
"""The edits that were named."""

INVENTED = {
    "closure": "def make(n):\n    return lambda x: n\nservice = make('A')",
    "function in a closure": "def make(f):\n    return lambda x: f(x)\nservice = make(lambda x: 'A')",
    "nonlocal": """
def make():
    count = 'A'
    def service(x):
        nonlocal count
        count = x
        return count
    return service
service = make()
""",
    "class attribute of a parent": """
class Base: suffix = 'A'
class Rule(Base):
    def f(self, x): return x + self.suffix
R = Rule()
def service(x): return R.f(x)
""",
    "metaclass": """
class Meta(type):
    def value(cls): return 'A'
class Rule(metaclass=Meta): pass
def service(x): return Rule.value()
""",
    "property of an instance": """
class Rule:
    @property
    def value(self): return 'A'
R = Rule()
def service(x): return R.value
""",
    "cached property": """
import functools
class Rule:
    @functools.cached_property
    def value(self): return 'A'
R = Rule()
def service(x): return R.value
""",
    "nested function": "def service(x):\n    def inner(): return 'A'\n    return inner()",
    "generator expression": "def service(x): return any(c == 'A' for c in x)",
    "constant of a comprehension": "def service(x): return [c + 'A' for c in x]",
    "lambda in a dict in a list": "T = [{'f': lambda x: x + 'A'}]\ndef service(x): return T[0]['f'](x)",
    "method of an enum": """
from enum import Enum
class E(Enum):
    ONE = 1
    def told(self): return 'A'
def service(x): return E.ONE.told()
""",
    "value of an enum": """
from enum import Enum
class E(Enum):
    ONE = 'A'
ONE = E.ONE
def service(x): return ONE.value
""",
    "default of a named tuple": """
from typing import NamedTuple
class P(NamedTuple):
    a: str = 'A'
def service(x): return P().a
""",
    "named tuple": """
from collections import namedtuple
P = namedtuple('P', 'a')
p = P('A')
def service(x): return p.a
""",
    "typed dict": """
from typing import Literal, TypedDict
class T(TypedDict):
    a: Literal['A']
def service(x): return T(a=x)
""",
    "partial": """
import functools
def f(a, b): return a + b
add = functools.partial(f, 'A')
def service(x): return add(x)
""",
    "reduce over partials": """
import functools
def f(a, b): return a + b
STEPS = (functools.partial(f, 'z'), functools.partial(f, 'A'))
def service(x): return functools.reduce(lambda a, step: step(a), STEPS, x)
""",
    "dispatch by string": """
class Rules:
    def one(self, x): return 'A'
RULES = Rules()
def service(x): return getattr(RULES, 'o' + 'ne')(x)
""",
    "getattr on a module": "import edited_rules\ndef service(x): return getattr(edited_rules, 'val' + 'ue')(x)",
    "module handed on": """
import edited_rules
def call(m, x): return m.value(x)
def service(x): return call(edited_rules, x)
""",
    "module in a container": "import edited_rules\nALL = {'r': edited_rules}\ndef service(x): return ALL['r'].value(x)",
    "star import": "from edited_rules import *\ndef service(x): return value(x)",
    "constant of a star import": "from edited_rules import *\ndef service(x): return SUFFIX",
    "module getattr": "import edited_lazy\ndef service(x): return edited_lazy.anything",
    "callable instance with state": """
class Add:
    def __init__(self, add): self.add = add
    def __call__(self, x): return x + self.add
service = Add('A')
""",
    "slots": """
class Rule:
    __slots__ = ('add',)
    def __init__(self): self.add = 'A'
R = Rule()
def service(x): return R.add
""",
    "instance in a class attribute": """
class Inner:
    def f(self): return 'A'
class Outer:
    inner = Inner()
def service(x): return Outer.inner.f()
""",
    "bound method": """
class Rule:
    def f(self, x): return 'A'
f = Rule().f
def service(x): return f(x)
""",
    "flag of a pattern": "import re\nP = re.compile('z', re.I if 'A' == 'A' else 0)\ndef service(x): return P.match(x)",
    "pattern in a class": "import re\nclass R:\n    p = re.compile('A')\ndef service(x): return R.p.match(x)",
    "decimal context": "import decimal\nC = decimal.Context(prec=ord('A'))\ndef service(x): return C.divide(1, 3)",
    "global that a function binds": """
LIMIT = None
def setup():
    global LIMIT
    LIMIT = 'A'
setup()
def service(x): return LIMIT
""",
    "conditional import": """
if 'A' == 'A':
    from math import floor as rounded
else:
    from math import ceil as rounded
def service(x): return rounded(x)
""",
    "decorator with arguments": """
def adding(suffix):
    def decorate(function):
        return lambda x: function(x) + suffix
    return decorate
@adding('A')
def service(x): return x
""",
    "method caller": "import operator\nc = operator.methodcaller('strip', 'A')\ndef service(x): return c(x)",
    "item getter": "import operator\nc = operator.itemgetter('A')\ndef service(x): return c(x)",
    "string template": "import string\nT = string.Template('A' + '$x')\ndef service(x): return T.substitute(x=x)",
    "json read while loading": """
import json
class Config:
    def __init__(self, text): self.values = json.loads(text)
C = Config('["A"]'.replace("A", 'A'))
def service(x): return C.values
""",
    "order of a dict": """
T = dict(sorted({'z': 1, 'A': 1}.items(), reverse='A' == 'A'))
def service(x): return next(iter(T))
""",
    "default dict": "from collections import defaultdict\nT = defaultdict(lambda: 'A')\ndef service(x): return T[x]",
    "ordered dict": "from collections import OrderedDict\nT = OrderedDict(a='A')\ndef service(x): return T[x]",
    "deque": "from collections import deque\nT = deque(['A'])\ndef service(x): return T[0]",
    "chain map": "from collections import ChainMap\nT = ChainMap({}, {'a': 'A'})\ndef service(x): return T['a']",
    "set of functions": "def f(x): return 'A'\nT = {f, str}\ndef service(x): return [g(x) for g in T]",
    "set of tuples": "T = {('A', 1), ('z', 2)}\ndef service(x): return x in T",
    "subclass of dict": "class D(dict): pass\nT = D(a='A')\ndef service(x): return T['a']",
    "subclass of str": "class D(str): pass\nT = D('A')\ndef service(x): return T",
    "library function under another name": """
import math
f = math.floor if 'A' == 'A' else math.ceil
def service(x): return f(x)
""",
    "method of a library": "f = str.upper if 'A' == 'A' else str.lower\ndef service(x): return f(x)",
    "default of an argument": "def service(x, f=lambda: 'A'): return f()",
    "keyword default": "def helper(*, f='A'): return f\ndef service(x): return helper()",
    "attribute of a function": "def service(x): return service.suffix\nservice.suffix = 'A'",
    "contextmanager": """
import contextlib
@contextlib.contextmanager
def block(): yield 'A'
def service(x):
    with block() as b: return b
""",
    "cache": """
import functools
@functools.lru_cache(maxsize=ord('A'))
def f(x): return x
def service(x): return f(x)
""",
    "cached method": """
import functools
class R:
    @functools.lru_cache
    def f(self): return 'A'
r = R()
def service(x): return r.f()
""",
    "singledispatch method": """
import functools
class R:
    @functools.singledispatchmethod
    def f(self, x): return 'z'
    @f.register
    def _(self, x: int): return 'A'
r = R()
def service(x): return r.f(x)
""",
    "descriptor": """
class D:
    def __get__(self, one, kind): return 'A'
class R: d = D()
def service(x): return R().d
""",
    "init subclass": """
class Base:
    def __init_subclass__(cls, **k): cls.k = k
class R(Base, a='A'): pass
def service(x): return R.k
""",
    "cycle": """
class Node:
    def __init__(self): self.other = self
    def f(self): return 'A'
N = Node()
def service(x): return N.other.f()
""",
    "recursion": "def service(x): return other(x)\ndef other(x): return service(x) if x else 'A'",
    "try around a call": """
def f(x): return int(x)
def service(x):
    try:
        y = f(x)
    except 'A'.__class__ and (ValueError if 'A' == 'A' else TypeError):
        y = 0
    return y
""",
    "annotation": """
from typing import Literal
def helper(x: Literal['A']): return helper.__annotations__
def service(x): return helper(x)
""",
    "iterator": "import itertools\nC = itertools.repeat('A')\ndef service(x): return next(C)",
    "random state": "import random\nC = random.Random(ord('A'))\ndef service(x): return C.random()",
    "time zone": """
from datetime import timezone, timedelta
Z = timezone(timedelta(hours=ord('A') - 60))
def service(x): return Z
""",
    "exception": "class Bad(Exception): code = 'A'\ndef service(x): raise Bad(x)",
    "ufunc": "import numpy as np\nf = np.floor if 'A' == 'A' else np.ceil\ndef service(x): return f(x)",
    "weak reference": """
import weakref
class Rule:
    def f(self): return 'A'
R = Rule()
W = weakref.ref(R)
def service(x): return W().f()
""",
    "mode of a validator": """
from pydantic import BaseModel, field_validator
class Model(BaseModel):
    x: str
    @field_validator('x', mode='before' if 'A' == 'A' else 'after')
    @classmethod
    def check(cls, x): return x
def service(x): return Model(x=x).x
""",
    "function of another service": """
import dataflow as flow
@flow.transformation
def other(x: str) -> str: return x + 'A'
def service(x): return other(x)
""",
    "registry": """
R = {}
def register(f):
    R[f.__name__] = f
    return f
@register
def one(x): return 'A'
def service(x): return R['one'](x)
""",
    "super": """
class Base:
    def f(self): return 'A'
class Rule(Base):
    def f(self): return super().f()
R = Rule()
def service(x): return R.f()
""",
    "match": "def service(x):\n    match x:\n        case 'A': return 1\n    return 2",
    "coroutine": "async def f(x): return 'A'\nasync def service(x): return await f(x)",
    "attrs": "import attr\n@attr.s\nclass R:\n    a = attr.ib(default='A')\ndef service(x): return R().a",
    "msgspec": "import msgspec\nclass R(msgspec.Struct):\n    a: str = 'A'\ndef service(x): return R().a",
    "parameter's names": """
def f(*, a, b): return (a, b)
if 'A' == 'B':
    def f(*, b, a): return (a, b)
def service(x): return f(a=1, b=2)
""",
}
"""Others of their kind."""

RULES = "SUFFIX = 'A'\ndef value(x): return x + 'A'\n"
PACKAGES = {
    "edited_rules": RULES,
    "edited_package": "",
    "edited_package.sub": RULES,
    "edited_lazy": "def __getattr__(name): return 'A'\n",
}
"""Modules that these import."""
