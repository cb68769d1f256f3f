"""Fixtures: certificates, Redis, the provider, gateways; and what holds after every test."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from kit import calls, certs as certs_module, procs, receivers, sandbox  # noqa: E402
from kit.answering import Answering  # noqa: E402
from kit.config import base_config, merge  # noqa: E402


class Figures:
    """Prints what tests say, also those that ran in another process."""

    def __init__(self, config):
        self.config = config

    def pytest_runtest_logreport(self, report):
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if report.when == "teardown" and terminal:
            for text in (text for name, text in report.user_properties if name == "said"):
                terminal.write(f"\n    {text}")


def pytest_configure(config):
    config.pluginmanager.register(Figures(config), "figures")
    config.addinivalue_line("markers", "slow: takes seconds; left out of sanitizer runs")
    config.addinivalue_line("markers", "provider_only: needs no gateway")


def pytest_collection_modifyitems(config, items):
    if sandbox.wanted() and sandbox.missing():
        for item in items:
            item.add_marker(pytest.mark.skip(reason=sandbox.missing()))
    if os.path.exists(procs.tollgate_binary()):
        return
    skip = pytest.mark.skip(reason=f"no {procs.tollgate_binary()}")
    for item in items:
        if "provider_only" not in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def certs(tmp_path_factory):
    return certs_module.Certs(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def shared_provider(tmp_path_factory, certs):
    corpus = os.path.join(procs.ROOT, "..", "shared", "corpus")
    args = ["--replay", corpus] if os.path.isdir(corpus) else []
    provider = procs.Provider(tmp_path_factory.mktemp("provider"), certs, args)
    yield provider
    assert provider.stop() == 0
    assert not procs.SANITIZER.search(provider.process.log_after_end())


@pytest.fixture
def provider(shared_provider):
    """The simulated provider with empty books."""
    shared_provider.reset()
    yield shared_provider
    totals = shared_provider.totals()
    assert totals["leaks"] == 0, "a gateway header or virtual key reached the provider"


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory):
    redis = procs.Redis(tmp_path_factory.mktemp("redis"))
    yield redis
    redis.stop()


@pytest.fixture
def redis(shared_redis):
    """A Redis that is empty."""
    shared_redis.command("FLUSHALL")
    return shared_redis


@pytest.fixture
def own_redis(tmp_path):
    """A Redis that the test may kill."""
    folder = tmp_path / "redis"
    folder.mkdir()
    instance = procs.Redis(folder)
    yield instance
    instance.stop()


@pytest.fixture
def say(request):
    """Figures that are printed whether tests pass or fail."""
    return lambda text: request.node.user_properties.append(("said", text))


class Gateways:
    """Makes gateways and sees to their end."""

    def __init__(self, folder, certs, provider):
        self.folder = folder
        self.certs = certs
        self.provider = provider
        self.made = []
        self.canaries = [calls.KEY, calls.CANARY_PROMPT, procs.Provider.SECRET,
                         procs.Provider.AWS[1]]

    def config(self, redis=None, **changes):
        return base_config(self.certs, self.provider, redis, **changes)

    def __call__(self, config=None, redis=None, name=None, **changes):
        config = merge(config, changes) if config else self.config(redis, **changes)
        name = name or f"tollgate{len(self.made)}"
        options = {}
        for option in ("env", "preexec", "start"):
            if option in config:
                options[option] = config.pop(option)
        gateway = procs.Gateway(self.folder / name, config, self.certs, name, **options)
        self.made.append(gateway)
        return gateway

    def finish(self):
        problems = []
        for gateway in self.made:
            try:
                gateway.stop()
                gateway.check_logs(self.canaries)
                self.check_state(gateway)
            except AssertionError as problem:
                problems.append(str(problem))
                for process in gateway.processes:
                    process.kill()
        assert not problems, "\n".join(problems)

    def check_state(self, gateway):
        """No secret and no prompt is in any file that the gateway wrote."""
        for folder, _, names in os.walk(os.path.join(gateway.folder, "var")):
            for name in names:
                with open(os.path.join(folder, name), "rb") as file:
                    content = file.read()
                for canary in self.canaries:
                    assert canary.encode() not in content, f"{canary!r} in {name}"


@pytest.fixture
def gateways(tmp_path, certs, provider):
    made = Gateways(tmp_path, certs, provider)
    yield made
    made.finish()


@pytest.fixture
def gateway(gateways):
    """One gateway with the base configuration, counters in memory."""
    return gateways()


@pytest.fixture
def upstream(certs):
    """A provider whose answers the test writes down."""
    made = Answering(certs)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def corpus():
    from kit.corpus import FOLDER, cases
    if not cases():
        pytest.skip(f"no recorded traffic at {os.path.normpath(FOLDER)}")
    return cases()


@pytest.fixture
def hooks():
    """A receiver of alerts by HTTP."""
    receiver = receivers.Receiver()
    yield receiver
    receiver.stop()


@pytest.fixture
def mailbox():
    """A receiver of alerts by SMTP."""
    box = receivers.Mailbox()
    yield box
    box.stop()
