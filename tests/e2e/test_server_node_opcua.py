"""The server under a client of another family: npm node-opcua, where it is installed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from gateway.model import NS_PER_MS
from gateway.server.aggregates import AGGREGATES
from gateway.server.bounds import BAD_NO_DATA, CALCULATED, INTERPOLATED, PARTIAL
from gateway.server.settings import Limits
from gateway.server.trust_folder import TrustFolder
from hil.bench.process import NODE_MODULES
from tests.e2e.server_rig import PASSWORD, START_NS, running
from tests.e2e.third_party.rig import need_npm

SCRIPT = """
const o = require("node-opcua");
const [url, policy, user, password, pki, startMs] = process.argv.slice(1);
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
  const at = seconds => new Date(Number(startMs) + 1000 * seconds);
  const said = result => result.historyData.dataValues.map(
    dv => [dv.value.value, dv.statusCode.value, (dv.sourceTimestamp - at(0)) / 1000]);
  for (const name of ["Average", "Maximum", "Interpolative", "PercentGood"])
    found[name] = said(await session.readAggregateValue({nodeId: level}, at(0), at(25),
      o.AggregateFunction[name], 10000));
  found.backwards = said(await session.readAggregateValue({nodeId: level}, at(20), at(0),
    o.AggregateFunction.Count, 10000));
  found.refused = (await session.readAggregateValue({nodeId: level}, at(0), at(25),
    o.AggregateFunction.Range, 10000)).statusCode.name;
  const times = await session.performMessageTransaction(new o.HistoryReadRequest({
    historyReadDetails: new o.ReadAtTimeDetails(
      {reqTimes: [at(3), at(7.5), at(-1)], useSimpleBounds: true}),
    timestampsToReturn: o.TimestampsToReturn.Both, releaseContinuationPoints: false,
    nodesToRead: [{nodeId: level}]}));
  found.times = said(times.results[0]);
  const able = await o.readHistoryServerCapabilities(session);
  found.able = [able.accessHistoryDataCapability.value, able.maxReturnDataValues.value];
  const functions = await session.browse({nodeId: "ns=0;i=11201", browseDirection: 0,
    referenceTypeId: "Organizes", includeSubtypes: true, resultMask: 63});
  found.functions = functions.references.map(r => r.browseName.name);
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
        str(START_NS // NS_PER_MS),
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
        calculated_aggregates_are_told(found)
        assert plant.writes == [("otto", "plc1/level", 3.5)]


def calculated_aggregates_are_told(found: dict[str, Any]) -> None:
    """The level is n at second n; the last of three intervals of 10 s is cut at second 25."""
    cut = CALCULATED | PARTIAL
    assert found["Average"] == [
        [4.5, CALCULATED, 0],
        [14.5, CALCULATED, 10],
        [22, CALCULATED, 20],
    ]
    assert found["Maximum"] == [[9, CALCULATED, 0], [19, CALCULATED, 10], [24, cut, 20]]
    assert found["Interpolative"] == [[0, 0, 0], [10, 0, 10], [20, 0, 20]]
    assert found["PercentGood"] == [[100, CALCULATED, 0], [100, CALCULATED, 10], [100, cut, 20]]
    assert found["backwards"] == [[10, CALCULATED, 20], [10, CALCULATED, 10]]
    assert found["refused"] == "BadAggregateNotSupported"
    assert found["times"] == [[3, 0, 3], [7, INTERPOLATED, 7.5], [None, BAD_NO_DATA, -1]]
    assert found["able"] == [True, Limits().max_history_values]
    assert sorted(found["functions"]) == sorted(AGGREGATES)
