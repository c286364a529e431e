"""A predictor over TLS, with certificates of our own: who is let in and who is not."""

from pathlib import Path

import dask.config
import distributed
import numpy as np
import pytest
import trustme

from omnimouse_model.errors import WorkerError
from omnimouse_model.inference import server as worker_process
from omnimouse_model.inference.dask_map import remote_predictor
from tests.model.dask_clusters import cluster_address
from tests.predictors import EchoPredictor, example_mask

pytestmark = pytest.mark.slow


def certificates(folder: Path) -> dict[str, str]:
    """An authority and a certificate of it, as Dask's configuration names them."""
    folder.mkdir()
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    ca, cert, key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
    authority.cert_pem.write_to_path(ca)
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    return {"ca": str(ca), "cert": str(cert), "key": str(key)}


def client_configuration(files: dict[str, str]) -> dask.config.set:
    """Dask's configuration with these certificates for a client."""
    return dask.config.set(
        {
            "distributed.comm.tls.ca-file": files["ca"],
            "distributed.comm.tls.client.cert": files["cert"],
            "distributed.comm.tls.client.key": files["key"],
        }
    )


@pytest.fixture(scope="module")
def our_certificates(tmp_path_factory):
    return certificates(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def scheduler(our_certificates):
    roles = ("scheduler", "worker", "client")
    security = distributed.Security(
        require_encryption=True,
        tls_ca_file=our_certificates["ca"],
        **{f"tls_{role}_cert": our_certificates["cert"] for role in roles},
        **{f"tls_{role}_key": our_certificates["key"] for role in roles},
    )
    with (
        pytest.MonkeyPatch.context() as patch,
        cluster_address(processes=False, protocol="tls://", security=security) as found,
    ):
        patch.setattr(worker_process, "SCREENS", ())  # other tests import them here
        yield found


@pytest.fixture
def short_wait(monkeypatch):
    module = "omnimouse_model.inference.dask_map"
    monkeypatch.setattr(f"{module}.START_TIMEOUT_S", 2)


def test_with_the_right_certificate_it_answers(scheduler, our_certificates, session):
    assert scheduler.startswith("tls://")
    window, mask = session.window(4.0), example_mask(session)
    with client_configuration(our_certificates):
        predictor = remote_predictor(scheduler, EchoPredictor)
        found = predictor.predict(window, mask)
        predictor.close()
    expected = EchoPredictor().predict(window, mask)
    assert np.array_equal(found.responses, expected.responses, equal_nan=True)


@pytest.mark.usefixtures("short_wait")
def test_another_authority_s_certificate_is_refused(scheduler, tmp_path):
    theirs = client_configuration(certificates(tmp_path / "theirs"))
    with theirs, pytest.raises(WorkerError, match=r"does not answer.*certificate"):
        _ = remote_predictor(scheduler, EchoPredictor).needs


@pytest.mark.usefixtures("short_wait")
@pytest.mark.parametrize(
    ("protocol", "words"),
    [("tls://", r"distributed\.comm\.tls\.ca-file"), ("tcp://", "does not answer")],
)
def test_without_certificates_there_is_no_answer(scheduler, protocol, words):
    address = scheduler.replace("tls://", protocol)
    with pytest.raises(WorkerError, match=words):
        _ = remote_predictor(address, EchoPredictor).needs
