"""Small changes of a module's syntax tree, each of which a test ought to notice.

Annotations, decorators, docstrings and imports stay as they are: the type checker and the
interpreter watch over those.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import EnumMeta
from typing import Any, Final, TypeVar

_T = TypeVar("_T")
_SKIPPED_FIELDS: Final = frozenset({"annotation", "returns", "decorator_list", "bases", "ctx"})
_COMPARISONS: Final[Mapping[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
}
_ARITHMETIC: Final[Mapping[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_OTHER_FUNCTION: Final = {"max": "min", "min": "max", "any": "all", "all": "any"}
_SAME_WITHOUT: Final = frozenset(
    {"strip", "rstrip", "lower", "upper", "removeprefix", "removesuffix", "replace", "sorted"}
)
_REMOVABLE: Final = (
    ast.Assign,
    ast.AugAssign,
    ast.Break,
    ast.Continue,
    ast.Delete,
    ast.Expr,
    ast.For,
    ast.If,
    ast.Raise,
    ast.Return,
)


@dataclass(frozen=True, eq=False)
class Edit:
    """Put `new` where `node` is: in `field` of `parent`, at `index` where that is a list.

    `new` None takes the element out. `function` is the outermost function around it, as
    (qualified name, first line), None for what runs on import.
    """

    operator: str
    parent: ast.AST
    field: str
    index: int | None
    node: ast.AST
    new: ast.AST | None
    line: int
    function: tuple[str, int] | None

    @property
    def becomes(self) -> str:
        """The change in words: what stood there, and what stands there now."""
        new = "nothing" if self.new is None else _shown(self.new)
        return f"{_shown(self.node)}  ->  {new}"

    def code(self, tree: ast.Module, filename: str) -> Any:
        """The module compiled with this change; the tree is as before afterwards."""
        found = getattr(self.parent, self.field)
        if self.new is not None:
            ast.fix_missing_locations(ast.copy_location(self.new, self.node))
        if self.index is None:
            changed: Any = self.new
        elif self.new is None:
            changed = [*found[: self.index], *found[self.index + 1 :]]
        else:
            changed = [*found[: self.index], self.new, *found[self.index + 1 :]]
        setattr(self.parent, self.field, changed)
        try:
            return compile(tree, filename, "exec", dont_inherit=True)
        finally:
            setattr(self.parent, self.field, found)


def edits(tree: ast.Module, names: Mapping[str, Any]) -> Iterator[Edit]:
    """Every change of one module, in the order of its lines; `names` are its globals."""
    yield from _walk(tree, names, function=None, path=())


def _walk(
    parent: ast.AST,
    names: Mapping[str, Any],
    *,
    function: tuple[str, int] | None,
    path: tuple[str, ...],
) -> Iterator[Edit]:
    if isinstance(parent, ast.ClassDef | ast.FunctionDef) and function is None:
        path = (*path, parent.name)
    for field, found in ast.iter_fields(parent):
        if field in _SKIPPED_FIELDS:
            continue
        inside = function
        if isinstance(parent, ast.FunctionDef) and field == "body" and function is None:
            inside = (".".join(path), first_line(parent))
        several = isinstance(found, list)
        for index, node in enumerate(found if several else [found]):
            if not isinstance(node, ast.AST) or _is_fixed(node):
                continue
            line = getattr(node, "lineno", getattr(parent, "lineno", 0))
            for operator, new in _changes(node, parent, field, names):
                at = index if several else None
                yield Edit(operator, parent, field, at, node, new, line, inside)
            yield from _walk(node, names, function=inside, path=path)


def first_line(function: ast.FunctionDef) -> int:
    return min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])


def _is_fixed(node: ast.AST) -> bool:
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return docstring or isinstance(node, ast.Import | ast.ImportFrom)


def _changes(
    node: ast.AST, parent: ast.AST, field: str, names: Mapping[str, Any]
) -> Iterator[tuple[str, ast.AST | None]]:
    if isinstance(node, ast.expr):
        yield from _of_expression(node, names)
    if isinstance(node, ast.stmt) and not _ends_without_a_word(node, parent):
        yield from _of_statement(node)
    if field in ("test", "ifs") and isinstance(node, ast.expr) and not _negates_itself(node):
        yield "negate condition", ast.UnaryOp(ast.Not(), node)
    if field == "ifs":
        yield "drop filter", None
    if field == "elts" and not (isinstance(parent, ast.Tuple) and _is_target(parent)):
        yield "drop element", None
    if field == "keywords":
        yield "drop argument", None


def _negates_itself(node: ast.expr) -> bool:
    one = isinstance(node, ast.Compare) and len(node.ops) == 1
    return one or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not))


def _ends_without_a_word(node: ast.stmt, parent: ast.AST) -> bool:
    """`return None` at the end of a function, which returns it anyway."""
    if not isinstance(node, ast.Return) or ast.unparse(node) != "return None":
        return False
    return isinstance(parent, ast.FunctionDef) and parent.body[-1] is node


def _is_target(node: ast.Tuple) -> bool:
    return isinstance(node.ctx, ast.Store)


def _of_statement(node: ast.stmt) -> Iterator[tuple[str, ast.AST | None]]:
    if isinstance(node, _REMOVABLE):
        yield "remove statement", ast.Pass()
    if isinstance(node, ast.Return) and node.value is not None and not _is_single(node.value):
        yield "return None", ast.Return(ast.Constant(None))
    if isinstance(node, ast.AugAssign) and type(node.op) in _ARITHMETIC:
        other = _ARITHMETIC[type(node.op)]()
        yield "swap arithmetic", ast.AugAssign(node.target, other, node.value)


def _is_single(node: ast.expr) -> bool:
    """None, or a truth value, which has a change of its own."""
    return isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool))


def _of_expression(
    node: ast.expr, names: Mapping[str, Any]
) -> Iterator[tuple[str, ast.AST | None]]:
    match node:
        case ast.Compare() | ast.BoolOp() | ast.UnaryOp() | ast.BinOp():
            yield from _of_operation(node)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield "swap branches", ast.IfExp(test, orelse, body)
        case ast.Constant(value=value):
            yield from _of_constant(value)
        case ast.Attribute(value=ast.Name(id=name), attr=member):
            yield from _of_member(name, member, names)
        case ast.Dict(keys=keys, values=values):
            for at in range(len(keys)):
                yield "drop entry", ast.Dict(_without(keys, at), _without(values, at))
        case ast.Call(func=function, args=args, keywords=keywords):
            yield from _of_call(function, args, keywords)


def _of_operation(node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    match node:
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            for at, op in enumerate(ops):
                for other in _COMPARISONS[type(op)]:
                    swapped = [*ops[:at], other(), *ops[at + 1 :]]
                    yield "swap comparison", ast.Compare(left, swapped, comparators)
        case ast.BoolOp(op=op, values=values):
            either = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield "swap and/or", ast.BoolOp(either, values)
            for at in range(len(values)):
                left_over = _without(values, at)
                one = len(left_over) == 1
                yield "drop operand", left_over[0] if one else ast.BoolOp(op, left_over)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "drop not", operand
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            yield "swap arithmetic", ast.BinOp(left, _ARITHMETIC[type(op)](), right)


def _without(found: list[_T], at: int) -> list[_T]:
    return [*found[:at], *found[at + 1 :]]


def _of_constant(value: object) -> Iterator[tuple[str, ast.expr]]:
    match value:
        case bool():
            yield "change constant", ast.Constant(not value)
        case int():
            yield "change constant", ast.Constant(value + 1)
        case str() if value:
            yield "change text", ast.Constant(f"{value}XX" if value.strip() else "XX")
        case "":
            yield "change text", ast.Constant("XX")


def _of_member(name: str, member: str, names: Mapping[str, Any]) -> Iterator[tuple[str, ast.expr]]:
    family = names.get(name)
    if isinstance(family, EnumMeta) and member in family.__members__:
        members = list(family.__members__)
        other = members[(members.index(member) + 1) % len(members)]
        yield "swap member", ast.Attribute(ast.Name(name, ast.Load()), other, ast.Load())


def _of_call(
    function: ast.expr, args: list[ast.expr], keywords: list[ast.keyword]
) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(function, ast.Name) and function.id in _OTHER_FUNCTION:
        other = ast.Name(_OTHER_FUNCTION[function.id], ast.Load())
        yield "swap function", ast.Call(other, args, keywords)
    if isinstance(function, ast.Name) and function.id in _SAME_WITHOUT:
        yield "drop call", args[0]
    if isinstance(function, ast.Attribute) and function.attr in _SAME_WITHOUT:
        yield "drop call", function.value


def _shown(node: ast.AST) -> str:
    if isinstance(node, ast.If | ast.For):
        return ast.unparse(node).splitlines()[0]
    if isinstance(node, ast.cmpop | ast.operator | ast.boolop):
        return type(node).__name__
    return " ".join(ast.unparse(node).split())
