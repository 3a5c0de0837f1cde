// SPDX-License-Identifier: Apache-2.0
// First inputs of `requests` (each call alone, and some that belong together), `rest` and
// `site_yaml`.
#include <string>
#include <string_view>
#include <vector>

#include "core/check.h"
#include "tests/fuzz/api/plane_calls.h"
#include "tests/fuzz/support/seed_writer.h"

namespace remora::fuzz {

namespace {

unsigned index_of(const std::string& method) {
    const PlaneCall* call = find_call(method);
    CHECK(call != nullptr);
    return static_cast<unsigned>(call - plane_calls().data());
}

/// The good requests of the calls, as they are.
Bytes calls(bool in_world, const std::vector<std::string>& methods) {
    Bytes out;
    out.u8(in_world ? 1 : 0);
    for (const std::string& method : methods) {
        out.u8(index_of(method)).u8(0);
    }
    return out;
}

void write_requests(SeedWriter& writer) {
    for (const PlaneCall& call : plane_calls()) {
        writer.write("requests", "call-" + call.method, calls(true, {call.method}));
    }
    writer.write("requests", "from-nothing",
                 calls(false, {"CreateMallocVolume", "CreateNvmeSubsystem", "AttachVolume",
                               "CreateNvmeRemoteController", "CreateDiscoveryReferral"}));
    writer.write("requests", "all-made",
                 calls(true, {"CreateVirtioBlk", "CreateQosVolume", "CreateNvmeController",
                              "CreateAioVolume", "CreateNvmePath", "AttachVolume", "SetPathPolicy",
                              "SetAnaState", "UpdateVirtioBlk"}));
    writer.write("requests", "all-gone",
                 calls(true, {"DetachVolume", "DeleteVirtioBlk", "DeleteNvmeNamespace",
                              "DeleteNvmeController", "DeleteQosVolume", "DeleteNvmePath",
                              "DeleteNvmeRemoteController", "DeleteMallocVolume"}));
}

struct Text {
    unsigned which;
    std::string_view text;
};

void write_rest(SeedWriter& writer) {
    const std::vector<Text> texts{
        {0, "GET /v1/nullVolumes?page_size=1 HTTP/1.1\r\nHost: a:1\r\n\r\n"},
        {0,
         "POST /v1/nullVolumes HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Type: "
         "application/json\r\nConnection: keep-alive\r\n\r\n"},
        {0,
         "PATCH /v1/volumes/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: "
         "100-continue\r\n\r\n"},
        {0, "GET / HTTP/1.0\r\n\r\n"},
        {1, "page_size=1&page_token=%41%c3%a9&a+b=c%2Fd"},
        {1, "%2Fvolumes%2fx"},
        {2,
         "/v1/{name=nvmeSubsystems/*/nvmeControllers/*}:stats\n"
         "/v1/nvmeSubsystems/s%2F0/nvmeControllers/c0:stats"},
        {2, "/v1/{parent=volumes/**}\n/v1/volumes/a/b/c"},
        {2, "/v1/*/x\n/v1/a:b/x"},
        {3, "spec.maxNamespaces,spec.nqn,name"},
        {3, "*"},
        {5, std::string_view("\x00/v1/volumes/x?pageSize=2\n\n\n5S\n", 29)},
        {5,
         "\x01/v1/nullVolumes?null_volume_id=x\napplication/json\n\n\n"
         "{\"blockSize\":512,\"blocks_count\":\"8\"}"},
        {5,
         "\x02/v1/nvmeSubsystems/s0/nvmeControllers/c0\n\n\n\n"
         "{\"spec\":{\"trtype\":4,\"fabricsId\":{\"traddr\":\"::1\"}}}"},
        {5, "\x03/v1/virtioBlks/x?allow_missing=true\n\n\n\n"},
        {5,
         "\x01/v1/attachments\napplication/json\n\n10m\n{\"discovery\":{\"traddr\":"
         "\"10.0.0.1\",\"trsvcid\":\"4420\"},\"hostFunction\":3}"},
    };
    int number = 0;
    for (const Text& one : texts) {
        // The byte behind the first of a whole request is its verb, zero too.
        std::string text(one.text);
        writer.write("rest", "text-" + std::to_string(number++), Bytes().u8(one.which).text(text));
    }
    for (unsigned method = 0; method < plane_calls().size(); method += 4) {
        writer.write("rest", "json-" + std::to_string(method),
                     Bytes().u8(4).u8(method).text(
                         R"({"name":"volumes/x","parent":"p","page_size":3,"updateMask":"a.b,c",)"
                         R"("virtioBlk":{"pcieId":{"portId":0},"maxLimit":{"rwIopsKiops":"5"}},)"
                         R"("nvmeSubsystem":{"spec":{"nqn":"n","psk":"QUJD"}},"hostFunction":1})"));
    }
}

void write_sites(SeedWriter& writer) {
    const std::vector<std::string_view> sites{
        "- kind: malloc\n  name: disk0\n  spec: {size: 64M}\n",
        "kind: subsystem\nname: lab\nspec:\n  nqn: nqn.2026-11.example:lab\n---\nkind: controller\n"
        "name: lab/tcp\nspec:\n  trtype: tcp\n  fabrics_id: {traddr: 127.0.0.1, trsvcid: \"4420\", "
        "adrfam: ipv4}\n",
        "- &a {kind: qos, name: q0, spec: {volume_name_ref: disk0, limits: {max: "
        "{rw_iops_kiops: 20}}}}\n- *a\n",
        "kind: virtio-blk\nname: 'd'\nspec: {pcie_id: {physical_function: 3}, "
        "volumeNameRef: disk0}\n",
        "# nothing\n",
        "a: [1, ~, \"x\\u00e9\", |\n  text\n ]\n",
    };
    int number = 0;
    for (const std::string_view site : sites) {
        writer.write("site_yaml", "site-" + std::to_string(number++), Bytes().text(site));
    }
}

}  // namespace

void write_api_seeds(SeedWriter& writer) {
    write_requests(writer);
    write_rest(writer);
    write_sites(writer);
}

}  // namespace remora::fuzz
