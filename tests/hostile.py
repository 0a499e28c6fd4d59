"""Checkpoints that run code where they are unpickled freely, and a server for files."""

import contextlib
import functools
import http.server
import io
import os
import pickle
import tarfile
import threading
import zipfile
from pathlib import Path

import torch


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def write_bomb(path, form, folder):
    """Writes a checkpoint that makes ``folder``, in one of the forms that torch.load knows."""
    content = {'state_dict': {'weight': torch.ones(1)}, 'code': Bomb(folder)}
    if form == 'zip':
        torch.save(content, path)
    elif form == 'legacy':
        torch.save(content, path, _use_new_zipfile_serialization=False)
    elif form == 'pickle':
        Path(path).write_bytes(pickle.dumps(content))
    elif form == 'zipped legacy':
        legacy = io.BytesIO()
        torch.save(content, legacy, _use_new_zipfile_serialization=False)
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('inner.pth', legacy.getvalue())
    else:
        assert form == 'tar'
        with tarfile.open(path, 'w') as archive:
            for name in ('sys_info', 'storages', 'tensors', 'pickle'):
                member = tarfile.TarInfo(name)
                member.size = len(pickle.dumps(Bomb(folder)))
                archive.addfile(member, io.BytesIO(pickle.dumps(Bomb(folder))))


FORMS = ('zip', 'legacy', 'pickle', 'zipped legacy', 'tar')


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder; of ``broken-off`` only the first half is sent."""

    def do_GET(self):
        self.server.requests.append(self.path)
        path = Path(self.translate_path(self.path))
        if not path.name.startswith('broken-off'):
            return super().do_GET()
        self.send_response(200)
        self.send_header('Content-Length', str(path.stat().st_size))
        self.end_headers()
        self.wfile.write(path.read_bytes()[: path.stat().st_size // 2])

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serve(folder):
    """A server on this machine: its address, and the list of the paths that were asked for."""
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        server.requests = []
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f'http://127.0.0.1:{server.server_port}', server.requests
        finally:
            server.shutdown()
            thread.join()
