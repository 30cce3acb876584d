"""The files of an image, as a container runtime would lay them out: layer over layer, with deletions and links.

The rules are those of the OCI image specification v1.1 ("Image Layer Filesystem Changeset") as containerd applies
them: what a later layer holds takes the place of what is there, a folder over a folder keeps what is in it, and an
entry below a link lands where the link leads.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from modelimage.archives import Header, Kind

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_LINKS_LIMIT = 40
"""Linux follows no more links in one path (MAXSYMLINKS)."""
_STEPS_LIMIT = 1024
_DEPTH_LIMIT = 512


@dataclass(frozen=True)
class Content:
    """A file's content: `size` bytes of the layer number `layer`, at `offset` of its plain bytes.

    `head` is the beginning, as much of it as tells what the file is.
    """

    layer: int
    offset: int
    size: int
    head: bytes = b""


@dataclass
class Node:
    """A file (`content`), a folder (`children`), a symbolic link (`target`) or something else (none of them)."""

    mode: int = 0o755
    content: Content | None = None
    target: str | None = None
    children: "dict[str, Node] | None" = None

    @classmethod
    def folder(cls) -> "Node":
        """An empty folder."""
        return cls(children={})


@dataclass(frozen=True)
class LayerFiles:
    """What a layer holds, in its order; why it was not read to its end; why no runtime would unpack it."""

    entries: tuple[tuple[Header, Content], ...]
    unread: str = ""
    damaged: str = ""


@dataclass
class Contents:
    """An image's files.

    `unread` says of each layer that was not read to its end why; what is not listed may then still be there.
    `damaged` says of each layer that no runtime would unpack why.
    """

    root: Node = field(default_factory=Node.folder)
    unread: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether all files are listed, so that one that is not listed is not there."""
        return not (self.unread or self.damaged)

    def add(self, entries: Iterable[tuple[Header, Content]]) -> None:
        """Lay a layer over what is there."""
        held = list(entries)
        for header, _ in held:
            self._hide(_parts(header.path))
        for header, content in held:
            parts = _parts(header.path)
            if parts and not parts[-1].startswith(_WHITEOUT) and len(parts) <= _DEPTH_LIMIT:
                self._put(parts, header, content)

    def _hide(self, parts: list[str]) -> None:
        if not parts or not parts[-1].startswith(_WHITEOUT):
            return
        above = self._walk(self.root, parts[:-1])
        if above is None or above.children is None:
            return
        if parts[-1] == _OPAQUE:
            above.children.clear()
        else:
            above.children.pop(parts[-1].removeprefix(_WHITEOUT), None)

    def _put(self, parts: list[str], header: Header, content: Content) -> None:
        above = self._folder(parts[:-1])
        if above is None or above.children is None:
            return
        name = parts[-1]
        if header.kind is Kind.FOLDER:
            there = above.children.get(name)
            if there is None or there.children is None:
                above.children[name] = Node(header.mode, children={})
            else:
                there.mode = header.mode
        elif header.kind is Kind.HARD_LINK:
            same = self._walk(self.root, _parts(header.target))
            if same is not None and same.children is None:
                above.children[name] = same
        elif header.kind is Kind.SYMBOLIC_LINK:
            above.children[name] = Node(header.mode, target=header.target)
        else:
            above.children[name] = Node(header.mode, content=content if header.kind is Kind.FILE else None)

    def _folder(self, parts: list[str]) -> Node | None:
        """The folder at a path, made where it is missing, as runtimes make the folders of an entry."""
        node: Node | None = self.root
        links = 0
        for depth, name in enumerate(parts):
            if node is None or node.children is None or links > _LINKS_LIMIT:
                return None
            if name not in node.children:
                node.children[name] = Node.folder()
            if node.children[name].target is None:
                node = node.children[name]
            else:
                links += 1
                node = self._walk(self.root, parts[: depth + 1])
        return node

    def find(self, path: str, *, within: str = "", leaving: bool = False, absolute: bool = False) -> Node | None:
        """What a path below the folder `within` leads to, links followed; None where nothing is.

        Through a mount of that folder, a link that leads out of it leads elsewhere, and so to nothing: unless
        `leaving`. An `absolute` link leads to the image's root only for what runs in the image itself.
        """
        if leaving:
            return self._walk(self.root, [*_parts(within), *path.split("/")], absolute=absolute)
        start = self._walk(self.root, _parts(within), absolute=absolute)
        return self._walk(start, path.split("/"), absolute=absolute, leaving=False) if start else None

    def _walk(self, start: Node, parts: Iterable[str], *, leaving: bool = True, absolute: bool = True) -> Node | None:
        trail = [start]
        todo = [part for part in reversed(list(parts)) if part not in {"", "."}]
        links = steps = 0
        while todo:
            part = todo.pop()
            steps += 1
            if part == "..":
                if len(trail) == 1 and not leaving:
                    return None
                trail = trail[:-1] or trail
                continue
            node = (trail[-1].children or {}).get(part)
            if node is None or links > _LINKS_LIMIT or steps > _STEPS_LIMIT:
                return None
            if node.target is None:
                trail.append(node)
                continue
            links += 1
            if node.target.startswith("/"):
                if not absolute:
                    return None
                trail = [start]
            todo += [name for name in reversed(node.target.split("/")) if name not in {"", "."}]
        return trail[-1]

    def names(self, folder: str) -> dict[str, Node]:
        """What is in a folder of the image, by name, links not followed."""
        node = self._walk(self.root, _parts(folder))
        return dict(node.children or {}) if node else {}

    def files(self, folder: str = "") -> Iterator[tuple[str, Content]]:
        """The files below a folder with their paths from there, in order; links are none."""
        start = self._walk(self.root, _parts(folder))
        todo = [("", start)] if start else []
        while todo:
            prefix, node = todo.pop()
            for name, child in sorted((node.children or {}).items(), reverse=True):
                todo.append((f"{prefix}{name}/", child) if child.children is not None else (f"{prefix}{name}", child))
            if node.content is not None:
                yield prefix, node.content

    def followed(self, folder: str, *, without: Collection[str] = ()) -> Iterator[tuple[str, Content]]:
        """The files below a folder with their paths from there; a link is the file that it leads to.

        `without` are names right in the folder that are passed over.
        """
        todo = [""]
        while todo:
            prefix = todo.pop()
            for name, node in self.names(f"{folder}/{prefix}").items():
                path = f"{prefix}{name}"
                if not prefix and name in without:
                    continue
                if node.children is not None:
                    todo.append(f"{path}/")
                    continue
                there = self.find(path, within=folder, leaving=True, absolute=True)
                if there is not None and there.content is not None:
                    yield path, there.content


def _parts(path: str) -> list[str]:
    """A path's parts from the image's root, where `..` leads no higher than that."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in {"", "."}:
            parts.append(part)
    return parts
