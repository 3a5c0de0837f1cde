// SPDX-License-Identifier: Apache-2.0
// What is laid over a volume: limits of its rates, encryption; and what back ends can do.
#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "cli/key_file.h"
#include "cli/kinds.h"
#include "cli/limits.h"
#include "remora/v1/qos.pb.h"
#include "storage/middleend_encryption.pb.h"
#include "storage/middleend_qos_volume.pb.h"

namespace remora::cli {

namespace {

namespace api = remora::v1;
namespace opi = opi_api::storage::v1;
using opi::QosLimit;

struct LimitField {
    std::string_view flag;
    std::string_view unit;
    std::int64_t (QosLimit::*get)() const;
    void (QosLimit::*set)(std::int64_t);
};
constexpr std::array kLimitFields{
    LimitField{"--read-kiops", "k reads/s", &QosLimit::rd_iops_kiops, &QosLimit::set_rd_iops_kiops},
    LimitField{"--write-kiops", "k writes/s", &QosLimit::wr_iops_kiops,
               &QosLimit::set_wr_iops_kiops},
    LimitField{"--kiops", "k I/Os/s", &QosLimit::rw_iops_kiops, &QosLimit::set_rw_iops_kiops},
    LimitField{"--read-mbs", " MiB/s read", &QosLimit::rd_bandwidth_mbs,
               &QosLimit::set_rd_bandwidth_mbs},
    LimitField{"--write-mbs", " MiB/s written", &QosLimit::wr_bandwidth_mbs,
               &QosLimit::set_wr_bandwidth_mbs},
    LimitField{"--mbs", " MiB/s", &QosLimit::rw_bandwidth_mbs, &QosLimit::set_rw_bandwidth_mbs}};

constexpr std::array kQosFlags = joined(
    std::array{Flag{"--volume", "REF", "The volume to limit: an id, a name, a UUID, or REMOTEnNSID",
                    FlagType::Text, true}},
    kRateFlags);

void build_qos(const Values& values, Message& resource) {
    auto& qos = as<opi::QosVolume>(resource);
    qos.set_volume_name_ref(values.text("--volume"));
    set_limits(values, *qos.mutable_limits()->mutable_max());
    set_minimum(values, *qos.mutable_limits()->mutable_min());
}

constexpr std::array kQosColumns{
    Column{"VOLUME", [](const Message& m) { return as<opi::QosVolume>(m).volume_name_ref(); }},
    Column{"LIMITS",
           [](const Message& m) { return limits_text(as<opi::QosVolume>(m).limits().max()); }},
    Column{"AT LEAST",
           [](const Message& m) { return limits_text(as<opi::QosVolume>(m).limits().min()); }}};

constexpr std::array kChangeable{std::string_view("limits")};

constexpr std::array kCapacityFlags{
    Flag{"--remote", "NAME", "Of this remote controller's volumes (default: the daemon's own)"},
    Flag{"--kiops", "N", "Thousands of I/Os a second that it surely does", FlagType::Number},
    Flag{"--mbs", "N", "MiB a second that it surely moves", FlagType::Number}};

void build_capacity(const Values& values, Message& resource) {
    auto& capacity = as<api::Capacity>(resource);
    const std::string& remote = values.text("--remote");
    constexpr std::string_view kRemotes = "nvmeRemoteControllers/";
    capacity.set_remote_controller(
        remote.empty() || remote.starts_with(kRemotes) ? remote : std::string(kRemotes) + remote);
    capacity.set_kiops(values.number("--kiops"));
    capacity.set_mbs(values.number("--mbs"));
}

constexpr std::array kCapacityColumns{
    Column{"OF",
           [](const Message& m) {
               const std::string& remote = as<api::Capacity>(m).remote_controller();
               return remote.empty() ? std::string("own volumes") : remote;
           }},
    Column{"K I/OS/S",
           [](const Message& m) { return std::to_string(as<api::Capacity>(m).kiops()); }},
    Column{"MIB/S", [](const Message& m) { return std::to_string(as<api::Capacity>(m).mbs()); }},
    Column{"PROMISED", [](const Message& m) {
               return std::to_string(std::lround(as<api::Capacity>(m).promised_percent())) + " %";
           }}};

constexpr std::array kCapacityChangeable{std::string_view("kiops"), std::string_view("mbs")};

constexpr std::string_view kAes128 = "aes-xts-128";
constexpr std::string_view kAes256 = "aes-xts-256";

constexpr std::array kEncryptedFlags{
    Flag{"--volume", "REF", "What holds the ciphertext: an id, a name, a UUID, or REMOTEnNSID",
         FlagType::Text, true},
    Flag{"--key-file", "FILE",
         "The key's raw bytes, 32 for aes-xts-128 and 64 for aes-xts-256; - is the standard input",
         FlagType::Text, true},
    Flag{"--cipher", "CIPHER", "How it is encrypted", FlagType::Text, false, kAes256,
         "aes-xts-128|aes-xts-256"}};

void build_encrypted(const Values& values, Message& resource) {
    auto& volume = as<opi::EncryptedVolume>(resource);
    volume.set_volume_name_ref(values.text("--volume"));
    volume.set_cipher(values.text("--cipher") == kAes128 ? opi::ENCRYPTION_TYPE_AES_XTS_128
                                                         : opi::ENCRYPTION_TYPE_AES_XTS_256);
    volume.set_key(read_key_file("--key-file", values.text("--key-file"), volume.cipher()));
}

std::string cipher_text(const Message& message) {
    const auto cipher = as<opi::EncryptedVolume>(message).cipher();
    return cipher == opi::ENCRYPTION_TYPE_AES_XTS_128   ? std::string(kAes128)
           : cipher == opi::ENCRYPTION_TYPE_AES_XTS_256 ? std::string(kAes256)
                                                        : opi::EncryptionType_Name(cipher);
}

constexpr std::array kEncryptedColumns{
    Column{"VOLUME",
           [](const Message& m) { return as<opi::EncryptedVolume>(m).volume_name_ref(); }},
    Column{"CIPHER", cipher_text}};

constexpr std::array kServices{
    Kind{.name = "encrypted",
         .plural = "encrypted-volumes",
         .what = "a volume whose bytes are encrypted in another one",
         .service = "opi_api.storage.v1.MiddleendEncryptionService",
         .message = "EncryptedVolume",
         .collection = "volumes",
         .example = "secret0",
         .example_flags = "--volume disk0 --key-file /etc/remora/secret0.key",
         .columns = kEncryptedColumns,
         .flags = kEncryptedFlags,
         .build = build_encrypted,
         .counters = Counters::Volume,
         .pattern = "encryptedVolumes"},
    Kind{
        .name = "qos",
        .plural = "qos-volumes",
        .what = "a limit on the rates of a volume",
        .service = "opi_api.storage.v1.MiddleendQosVolumeService",
        .message = "QosVolume",
        .collection = "volumes",
        .example = "slow0",
        .example_flags = "--volume disk0 --kiops 10",
        .columns = kQosColumns,
        .flags = kQosFlags,
        .build = build_qos,
        .counters = Counters::Volume,
        .pattern = "qosVolumes",
        .limits = [](Message& m) { return as<opi::QosVolume>(m).mutable_limits()->mutable_max(); },
        .minimum = [](Message& m) { return as<opi::QosVolume>(m).mutable_limits()->mutable_min(); },
        .limits_paths = kChangeable,
        .has_minimum =
            [](const Message& m) { return any_limit(as<opi::QosVolume>(m).limits().min()); },
        .changeable = kChangeable},
    Kind{.name = "capacity",
         .plural = "capacities",
         .what = "what a back end can do, so that minimum rates can be kept",
         .service = "remora.v1.QosService",
         .message = "Capacity",
         .collection = "capacities",
         .example = "own",
         .example_flags = "--kiops 100 --mbs 1000",
         .columns = kCapacityColumns,
         .flags = kCapacityFlags,
         .build = build_capacity,
         .changeable = kCapacityChangeable}};

}  // namespace

void set_minimum(const Values& values, QosLimit& minimum) {
    for (const LimitField& field : kLimitFields) {
        const std::string flag = "--min-" + std::string(field.flag.substr(2));
        if (values.given(flag)) {
            (minimum.*field.set)(values.number(flag));
        }
    }
}

bool any_limit(const QosLimit& limits) {
    return std::ranges::any_of(
        kLimitFields, [&limits](const LimitField& field) { return (limits.*field.get)() != 0; });
}

void set_limits(const Values& values, QosLimit& limits) {
    for (const LimitField& field : kLimitFields) {
        if (values.given(field.flag)) {
            (limits.*field.set)(values.number(field.flag));
        }
    }
}

std::string limits_text(const QosLimit& limits) {
    std::string text;
    for (const LimitField& field : kLimitFields) {
        if (const std::int64_t value = (limits.*field.get)(); value != 0) {
            text += (text.empty() ? "" : ", ") + std::to_string(value) + std::string(field.unit);
        }
    }
    return text.empty() ? "none" : text;
}

std::span<const Kind> service_kinds() {
    return kServices;
}

}  // namespace remora::cli
