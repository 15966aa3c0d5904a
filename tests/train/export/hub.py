"""A stand-in for a model hub on this machine: the calls that huggingface_hub makes to push and pull, over HTTP."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit


class Hub(ThreadingHTTPServer):
    """Repositories in memory: name -> path -> bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def commit_of(self, name: str) -> str:
        files = self.repositories[name]
        return hashlib.sha1(b"".join(key.encode() + files[key] for key in sorted(files))).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, value: object, code: int = 200, headers: dict[str, str] | None = None) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(code)
        for key, text in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _missing(self, error: str = "RepoNotFound") -> None:
        self._answer({"error": "not found"}, 404, {"X-Error-Code": error})

    def do_POST(self) -> None:
        path, body = unquote(urlsplit(self.path).path), self._body()
        if path == "/api/repos/create":
            values = json.loads(body)
            name = "/".join(filter(None, (values.get("organization"), values["name"])))
            name = name if "/" in name else f"user/{name}"
            self.server.repositories.setdefault(name, {})
            self.server.private[name] = bool(values.get("private") or values.get("visibility") == "private")
            self._answer({"url": f"{self.server.address}/{name}", "id": name})
            return
        parts = path.split("/")
        if len(parts) < 6:  # such as /api/validate-yaml, which looks at a card
            self._answer({"errors": [], "warnings": []})
            return
        name, call = "/".join(parts[3:5]), parts[5]
        if call == "preupload":
            files = [
                {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                for each in json.loads(body)["files"]
            ]
            self._answer({"files": files})
        elif call == "commit":
            for line in body.splitlines():
                item = json.loads(line)
                if item["key"] == "file":
                    content = base64.b64decode(item["value"]["content"])
                    self.server.repositories[name][item["value"]["path"]] = content
            commit = self.server.commit_of(name)
            self._answer({"commitUrl": f"{self.server.address}/{name}/commit/{commit}", "commitOid": commit})
        else:
            self._answer({})

    def do_GET(self) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        is_api = parts[:2] == ["api", "models"]
        name = "/".join(parts[2:4] if is_api else parts[:2])
        if name not in self.server.repositories:
            return self._missing()
        files, commit = self.server.repositories[name], self.server.commit_of(name)
        if is_api:
            revision = parts[5] if len(parts) > 5 else "main"
            if revision not in ("main", commit):
                return self._missing("RevisionNotFound")
            if len(parts) > 4 and parts[4] == "tree":
                tree = [
                    {"type": "file", "path": key, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for key, data in files.items()
                ]
                return self._answer(tree)
            siblings = [{"rfilename": key} for key in files]
            return self._answer({"id": name, "modelId": name, "sha": commit, "siblings": siblings, "private": False})
        data = files.get("/".join(parts[4:]))
        if data is None:
            return self._missing("EntryNotFound")
        etag = hashlib.sha1(data).hexdigest()
        return self._answer(data, headers={"X-Repo-Commit": commit, "ETag": f'"{etag}"'})

    do_HEAD = do_GET


@contextmanager
def local_hub() -> Iterator[Hub]:
    """A hub that answers while the block runs."""
    with Hub() as hub:
        thread = Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
