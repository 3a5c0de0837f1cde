// SPDX-License-Identifier: Apache-2.0
#include "nvme/discovery.h"

#include <cstring>

#include <gtest/gtest.h>

#include "nvme/spec/fabrics.h"

namespace remora::nvme {
namespace {

Directory make_directory() {
    Directory directory;
    directory.generation = 7;
    directory.entries = {
        {.subnqn = "nqn.a", .endpoint = {.address = "192.0.2.1", .port = 4420}, .port_id = 1},
        {.subnqn = "nqn.b",
         .endpoint = {.address = "192.0.2.1", .port = 4420},
         .port_id = 1,
         .allowed_hosts = {"nqn.host"}},
        {.subnqn = "nqn.c", .endpoint = {.address = "2001:db8::1", .port = 4421}, .port_id = 2}};
    return directory;
}

spec::DiscoveryLogEntry entry_at(const std::vector<std::byte>& log, std::size_t index) {
    spec::DiscoveryLogEntry entry;
    std::memcpy(&entry, log.data() + 1024 * (index + 1), sizeof(entry));
    return entry;
}

TEST(Discovery_log, host_sees_what_it_may_connect_to) {
    const Directory directory = make_directory();
    EXPECT_EQ(discovery_log_size(directory, "nqn.stranger"), 3U * 1024);
    EXPECT_EQ(discovery_log_size(directory, "nqn.host"), 4U * 1024);

    std::vector<std::byte> log(3 * 1024);
    read_discovery_log(directory, "nqn.stranger", 0, log);
    spec::DiscoveryLogHeader header;
    std::memcpy(&header, log.data(), sizeof(header));
    EXPECT_EQ(header.generation, 7U);
    EXPECT_EQ(header.record_count, 2U);
    EXPECT_EQ(spec::field_text(entry_at(log, 0).subnqn), "nqn.a");
    EXPECT_EQ(spec::field_text(entry_at(log, 1).subnqn), "nqn.c");
    EXPECT_EQ(entry_at(log, 1).address_family, spec::kAddressIpv6);
    EXPECT_EQ(spec::field_text(entry_at(log, 1).address), "2001:db8::1");
    EXPECT_EQ(spec::field_text(entry_at(log, 1).service_id), "4421");
}

TEST(Discovery_log, entry_without_tls_asks_for_no_secure_channel) {
    std::vector<std::byte> log(3 * 1024);
    read_discovery_log(make_directory(), "nqn.stranger", 0, log);
    const spec::DiscoveryLogEntry entry = entry_at(log, 0);
    constexpr std::uint8_t kSecureChannelBits = 0x03;
    EXPECT_EQ(entry.requirements & kSecureChannelBits, 0);
    EXPECT_NE(entry.requirements & spec::kTreqFlowControlOff, 0);
    EXPECT_EQ(entry.transport, spec::kTransportTcp);
    EXPECT_EQ(entry.subtype, spec::kSubtypeNvm);
}

TEST(Discovery_log, any_cut_reads_the_same_bytes) {
    const Directory directory = make_directory();
    std::vector<std::byte> whole(5 * 1024, std::byte{0xee});
    read_discovery_log(directory, "nqn.host", 0, whole);
    for (const std::size_t part : {4UL, 100UL, 1024UL, 1500UL}) {
        std::vector<std::byte> cut;
        for (std::size_t at = 0; at < whole.size(); at += part) {
            std::vector<std::byte> piece(std::min(part, whole.size() - at), std::byte{0xee});
            read_discovery_log(directory, "nqn.host", at, piece);
            cut.insert(cut.end(), piece.begin(), piece.end());
        }
        EXPECT_EQ(cut, whole) << part;
    }
    EXPECT_EQ(whole[4 * 1024], std::byte{0});  // behind the end: zeros
}

}  // namespace
}  // namespace remora::nvme
