"""What a table of tensor names is, and how it is read in both directions."""

import dataclasses
import functools
import re
import types


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """The names that one implementation gives its tensors.

    Attributes:
        name: what messages call it.
        sources: sources whose files bear these names.
        rows: pairs of a name and an address. Several names of one address are aliases: files
            hold the tensor under each.
        words: for each field, how the names spell what the addresses say.
        ignored: patterns of names that no network needs.
        modes: pairwise functions that the implementation has.
        pool2: whether the networks pool frames after stage 2; `None`: the names do not tell.
        out_bias: whether the last convolution of a non-local block has a bias; without one, the
            norm behind it has taken it in.
        flat_c2d: whether networks without inflated blocks keep 2-D kernels.
    """

    name: str
    sources: tuple[str, ...]
    rows: tuple[tuple[str, str], ...]
    words: types.MappingProxyType
    ignored: tuple[str, ...] = (r".*\.num_batches_tracked",)
    modes: tuple[str, ...] = ("embedded_gaussian", "dot_product")
    pool2: bool | None = None
    out_bias: bool = True
    flat_c2d: bool = False

    def address_of(self, name):
        """The address that a name stands for; `None` for an unknown one."""
        for pattern, _, template in self._patterns:
            if match := pattern.fullmatch(name):
                return self._fill(template, match.groupdict(), self.words)
        return None

    def names_of(self, address):
        """All names that an address has in a file; none where the format has no place for it."""
        spelt = {
            field: {ours or theirs: theirs for theirs, ours in words.items()}
            for field, words in self.words.items()
        }
        return [
            self._fill(template, match.groupdict(), spelt)
            for (template, _), (_, pattern, _) in zip(self.rows, self._patterns, strict=True)
            if (match := pattern.fullmatch(address))
        ]

    def ignores(self, name):
        """Whether networks do without the tensor of this name."""
        return any(re.fullmatch(pattern, name) for pattern in self.ignored)

    @functools.cached_property
    def _patterns(self):
        """For each row: the pattern of its name, that of its address, and the address."""
        theirs = {field: tuple(words) for field, words in self.words.items()}
        ours = {
            field: tuple(ours or theirs for theirs, ours in words.items())
            for field, words in self.words.items()
        }
        return [
            (_pattern(name, theirs), _pattern(address, ours), address)
            for name, address in self.rows
        ]

    @staticmethod
    def _fill(template, fields, words):
        translated = {
            field: (words.get(field, {}).get(value) or value) for field, value in fields.items()
        }
        return template.format_map(translated)


def _pattern(template, words):
    """A regular expression for a template; a field without words is a number."""
    parts = re.split(r"\{(\w+)\}", template)
    pattern = ""
    for text, field in zip(parts[::2], [*parts[1::2], None], strict=True):
        pattern += re.escape(text)
        if field:
            choice = "|".join(map(re.escape, words[field])) if field in words else r"\d{1,3}"
            pattern += f"(?P<{field}>{choice})"
    return re.compile(pattern)
