"""The server under a client of another family: npm node-opcua, where it is installed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from gateway.server.trust_folder import TrustFolder
from hil.bench.process import NODE_MODULES
from tests.e2e.server_rig import PASSWORD, running
from tests.e2e.third_party.rig import need_npm

SCRIPT = """
const o = require("node-opcua");
const [url, policy, user, password, pki] = process.argv.slice(1);
(async () => {
  const options = {endpointMustExist: false, connectionStrategy: {maxRetry: 0}};
  options.clientCertificateManager = new o.OPCUACertificateManager(
    {rootFolder: pki, automaticallyAcceptUnknownCertificate: true});
  await options.clientCertificateManager.initialize();
  options.securityMode = o.MessageSecurityMode.SignAndEncrypt;
  options.securityPolicy = o.SecurityPolicy[policy];
  const client = o.OPCUAClient.create(options);
  await client.connect(url);
  const session = await client.createSession(
    {type: o.UserTokenType.UserName, userName: user, password: password});
  const level = "ns=2;s=plc1/level", found = {};
  const tree = await session.browse({nodeId: "ns=2;s=plc1", browseDirection: 0,
    referenceTypeId: "HierarchicalReferences", includeSubtypes: true, resultMask: 63});
  found.children = tree.references.map(r => r.browseName.name);
  found.value = (await session.read({nodeId: level, attributeId: 13})).value.value;
  const written = await session.write({nodeId: level, attributeId: 13,
    value: {value: {dataType: o.DataType.Double, value: 3.5}}});
  found.written = written.name;
  const subscription = await session.createSubscription2({requestedPublishingInterval: 100,
    requestedMaxKeepAliveCount: 10, requestedLifetimeCount: 100, publishingEnabled: true,
    maxNotificationsPerPublish: 0, priority: 0});
  const item = await subscription.monitor({nodeId: level, attributeId: 13},
    {samplingInterval: 100, queueSize: 1, discardOldest: true}, o.TimestampsToReturn.Both);
  found.told = await new Promise(r => item.once("changed", dv => r(dv.value.value)));
  await subscription.terminate();
  let point = null, count = 0, pages = 0;
  do {
    const answer = await session.performMessageTransaction(new o.HistoryReadRequest({
      historyReadDetails: new o.ReadRawModifiedDetails({isReadModified: false,
        startTime: new Date("2020-01-01"), endTime: new Date("2030-01-01"),
        numValuesPerNode: 0, returnBounds: false}),
      timestampsToReturn: o.TimestampsToReturn.Both, releaseContinuationPoints: false,
      nodesToRead: [{nodeId: level, continuationPoint: point}]}));
    const result = answer.results[0];
    count += result.historyData.dataValues.length;
    point = result.continuationPoint;
    pages += 1;
  } while (point && point.length);
  found.history = [count, pages];
  await session.close();
  await client.disconnect();
  console.log("RESULT " + JSON.stringify(found));
  process.exit(0);
})().catch(error => { console.error(error); process.exit(1); });
"""


async def run_client(tmp_path: Path, *arguments: str) -> tuple[int | None, str]:
    """Exit status and words of the script; it keeps its keys in a folder."""
    node = shutil.which("node")
    assert node is not None
    process = await asyncio.create_subprocess_exec(
        node,
        "-e",
        SCRIPT,
        *arguments,
        str(tmp_path / "client"),
        env=os.environ | {"NODE_PATH": str(NODE_MODULES), "HOME": str(tmp_path)},
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


@pytest.mark.external
@pytest.mark.parametrize(
    "policy", ["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"]
)
async def test_node_opcua_browses_reads_writes_subscribes_and_looks_back(
    policy: str, tmp_path: Path
) -> None:
    need_npm("node-opcua")
    async with running(tmp_path / "pki") as plant:
        plant.history.fill("plc1/level", 25_000)
        plant.set("plc1/level", 2.25)
        arguments = (plant.url.replace("localhost", "127.0.0.1"), policy, "otto", PASSWORD)
        status, output = await run_client(tmp_path, *arguments)
        assert status != 0, output
        [stranger] = TrustFolder(plant.pki_dir).entries()
        assert stranger.state == "rejected"
        TrustFolder(plant.pki_dir).accept(stranger.thumbprint)
        status, output = await run_client(tmp_path, *arguments)
        assert status == 0, output
        line = next(text for text in output.splitlines() if text.startswith("RESULT "))
        found = json.loads(line.removeprefix("RESULT "))
        assert {"level", "count", "Diagnostics"} <= set(found["children"])
        assert (found["value"], found["written"], found["told"]) == (2.25, "Good", 2.25)
        assert found["history"] == [25_000, 3]
        assert plant.writes == [("otto", "plc1/level", 3.5)]
