"""A predictor over TLS, with certificates of our own: who is let in and who is not."""

from pathlib import Path

import dask.config
import distributed
import numpy as np
import pytest
import trustme

from omnimouse_model.data.open import open_session
from omnimouse_model.errors import WorkerError
from omnimouse_model.predict.remote import remote_predictor
from tests.predictors import EchoPredictor, question
from tests.small_sessions import write_session


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


def configured(made: dict[str, str]) -> dask.config.set:
    """Dask's configuration with these certificates for a client."""
    return dask.config.set(
        {
            "distributed.comm.tls.ca-file": made["ca"],
            "distributed.comm.tls.client.cert": made["cert"],
            "distributed.comm.tls.client.key": made["key"],
        }
    )


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return certificates(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def scheduler(ours):
    roles = ("scheduler", "worker", "client")
    security = distributed.Security(
        require_encryption=True,
        tls_ca_file=ours["ca"],
        **{f"tls_{role}_cert": ours["cert"] for role in roles},
        **{f"tls_{role}_key": ours["key"] for role in roles},
    )
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        host="127.0.0.1",
        protocol="tls://",
        security=security,
        dashboard_address=None,
    ) as cluster:
        yield cluster.scheduler_address


def test_with_the_authority_s_certificate_it_answers(scheduler, ours, tmp_path):
    assert scheduler.startswith("tls://")
    session = open_session(write_session(tmp_path / "small"))
    window, mask = session.window(4.0), question(session)
    with configured(ours):
        predictor = remote_predictor(scheduler, EchoPredictor)
        found = predictor.predict(window, mask)
        predictor.close()
    expected = EchoPredictor().predict(window, mask)
    assert np.array_equal(found.responses, expected.responses, equal_nan=True)


def test_another_authority_s_certificate_is_refused(scheduler, tmp_path, monkeypatch):
    monkeypatch.setattr("omnimouse_model.predict.schedulers.START_TIMEOUT_S", 2)
    with (
        configured(certificates(tmp_path / "theirs")),
        pytest.raises(WorkerError, match=r"does not answer.*certificate"),
    ):
        _ = remote_predictor(scheduler, EchoPredictor).needs


def test_without_certificates_the_error_names_what_to_configure(scheduler, monkeypatch):
    monkeypatch.setattr("omnimouse_model.predict.schedulers.START_TIMEOUT_S", 2)
    with pytest.raises(WorkerError, match=r"distributed\.comm\.tls\.ca-file"):
        _ = remote_predictor(scheduler, EchoPredictor).needs


def test_the_same_port_in_the_clear_gets_no_answer(scheduler, monkeypatch):
    monkeypatch.setattr("omnimouse_model.predict.schedulers.START_TIMEOUT_S", 2)
    clear = scheduler.replace("tls://", "tcp://")
    with pytest.raises(WorkerError, match="does not answer"):
        _ = remote_predictor(clear, EchoPredictor).needs
