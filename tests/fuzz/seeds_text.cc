// SPDX-License-Identifier: Apache-2.0
// Seeds of qmp and text.
#include "tests/fuzz/support/seed_writer.h"

namespace remora::fuzz {

void write_text_seeds(SeedWriter& writer) {
    int number = 0;
    for (const std::string_view text :
         {"127.0.0.1:4420", "[::1]:4420", "[2001:db8::1:2]:0", "unix:/run/a.sock", "br1:1-31",
          "br1:1-31,br2:1-31,br3:1-2", "rp[0-15]", "rp3", "br1:7", "4096", "64K", "16MiB", "2TiB",
          "123e4567-e89b-12d3-a456-426614174000", "18446744073709551615", "17179869183G"}) {
        writer.write("text", std::to_string(number++), Bytes().text(text));
    }
    constexpr std::string_view kOurs =
        R"(=[{"name": "type", "type": "string"}, {"name": "remora-0", "type": "child<vhost-user-blk-pci>"}])";
    constexpr std::string_view kPci =
        R"(=[{"bus": 0, "devices": [{"qdev_id": "br1", "pci_bridge": {"devices": [{"qdev_id": "remora-0", "bus": 2, "slot": 1, "function": 0}]}}]}])";
    constexpr std::string_view kAddress = R"(={"type": "unix", "path": "/p"})";
    constexpr std::string_view kGone =
        R"(!{"event": "DEVICE_DELETED", "data": {"device": "remora-0", "path": "/x"}})";
    constexpr std::string_view kStays =
        R"(!{"event": "DEVICE_UNPLUG_GUEST_ERROR", "data": {"device": "remora-0", "path": "/x"}})";
    const auto write = [&](const std::string& name, std::initializer_list<std::string_view> lines) {
        Bytes bytes;
        for (const std::string_view line : lines) {
            bytes.text(line).text("\n");
        }
        writer.write("qmp", name, bytes);
    };
    // Greeting, capabilities, list: qom-list, query-pci, qom-get; plug; unplug.
    write("nothing", {""});
    write("there", {"", "", kOurs, kPci, kAddress, kOurs, kAddress, kPci, kOurs, kGone, ""});
    write("stays",
          {"", "", kOurs, kPci, kAddress, kOurs, kAddress, kPci, kOurs, kStays, "", kOurs});
    write("plug", {"", "", "", "", "", "", "", kPci, kOurs, "", "", "-DeviceNotFound"});
    write("stray", {"", "", "", "", kOurs, R"(={"type": "unix", "path": "/q"})", kOurs, kGone, ""});
    write("busy", {"", "", "", "", "", "-GenericError", R"(=[{"label": "remora-0"}])",
                   "-GenericError", R"(=[{"label": "remora-0"}])", ""});
    write("refused", {"", "", "", "", "", "", "-GenericError", R"(=[{"label": "remora-0"}])"});
    write("mute", {"", "", "", "", "", "", ".", kOurs, kGone, ""});
    write("old", {R"({"QMP": {"version": {"qemu": {"major": 7, "minor": 2}}}})", "", "#"});
    write("wrong", {"", "", R"({"return": {}, "id": 7})", R"({"return": {}})", "{", "[]"});
    write("pieces", {"", "<{\"ret", "<urn\": {}, \"id\"", ": 1}"});
}

}  // namespace remora::fuzz
