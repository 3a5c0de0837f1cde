// SPDX-License-Identifier: Apache-2.0
#include "cli/layer_commands.h"

#include <algorithm>
#include <chrono>
#include <iostream>

#include <grpcpp/completion_queue.h>

#include "cli/key_file.h"
#include "cli/kinds.h"
#include "cli/output.h"
#include "core/units.h"
#include "remora/v1/integrity.pb.h"
#include "remora/v1/raid.pb.h"
#include "remora/v1/remora.pb.h"
#include "storage/middleend_encryption.pb.h"

namespace remora::cli {

namespace {

namespace api = remora::v1;

constexpr std::string_view kRaid = "remora.v1.RaidService";
constexpr std::string_view kIntegrity = "remora.v1.IntegrityService";
constexpr std::string_view kRemora = "remora.v1.RemoraService";
constexpr std::string_view kEncryption = "opi_api.storage.v1.MiddleendEncryptionService";
constexpr auto kBetweenLooks = std::chrono::milliseconds(200);

std::string volume_name(const std::string& typed) {
    return typed.contains('/') ? typed : "volumes/" + typed;
}

/// On a queue to which nothing comes: gRPC's clock is the one that this program waits by.
void pause_between_looks() {
    grpc::CompletionQueue queue;
    void* tag = nullptr;
    bool ok = false;
    (void)queue.AsyncNext(&tag, &ok, std::chrono::system_clock::now() + kBetweenLooks);
    queue.Shutdown();
    while (queue.Next(&tag, &ok)) {
    }
}

/// One line that is written over itself: "rebuild [######----]  61 %  1.2 GiB of 2.0 GiB".
std::string bar(const api::BackgroundWork& work) {
    constexpr std::uint64_t kWidth = 30;
    const std::uint64_t total = std::max<std::uint64_t>(work.total_bytes(), 1);
    const std::uint64_t done = std::min(work.done_bytes(), total);
    const auto full =
        static_cast<std::size_t>(static_cast<double>(done) / static_cast<double>(total) * kWidth);
    std::string percent = std::to_string(
        static_cast<unsigned>(static_cast<double>(done) / static_cast<double>(total) * 100));
    percent.insert(0, 3 - std::min<std::size_t>(percent.size(), 3), ' ');
    return enum_text(api::BackgroundWork::Kind_Name(work.kind()), "KIND") + " [" +
           std::string(full, '#') + std::string(kWidth - full, '-') + "] " + percent + " %  " +
           core::format_size(work.done_bytes()) + " of " + core::format_size(work.total_bytes());
}

/// Until no background work is left. Progress goes to where errors go, so that the answer stays
/// clean. Each look has the session's deadline for itself.
template <typename Volume, typename GetRequest>
Volume wait_for_end(const Session& session, std::string_view service, const char* get, Volume now) {
    bool shown = false;
    while (now.work().kind() != api::BackgroundWork::KIND_UNSPECIFIED) {
        std::cerr << '\r' << bar(now.work()) << std::flush;
        shown = true;
        pause_between_looks();
        GetRequest request;
        request.set_name(now.name());
        Client(session).call(service, get, request, now);
    }
    if (shown) {
        std::cerr << '\n';
    }
    return now;
}

api::RaidVolume wait_for_array(const Session& session, const api::RaidVolume& array) {
    return wait_for_end<api::RaidVolume, api::GetRaidVolumeRequest>(session, kRaid, "GetRaidVolume",
                                                                    array);
}

void print(const Session& session, const Kind& kind, const Message& message) {
    if (session.json()) {
        session.out << to_json(message);
        return;
    }
    std::vector<std::string> titles{"NAME"};
    const auto* name = message.GetDescriptor()->FindFieldByName("name");
    std::vector<std::string> cells{short_name(message.GetReflection()->GetString(message, name))};
    for (const Column& column : kind.columns) {
        titles.emplace_back(column.title);
        cells.push_back(column.text(message));
    }
    Table table(titles);
    table.add(cells);
    table.print(session.out);
}

}  // namespace

void scrub(const Session& session, const ScrubFlags& flags) {
    if (flags.kind == "raid") {
        api::ScrubRaidVolumeRequest request;
        request.set_name(volume_name(flags.name));
        request.set_cancel(flags.cancel);
        api::RaidVolume answer;
        Client(session).call(kRaid, "ScrubRaidVolume", request, answer);
        print(session, *find_kind("raid"), flags.wait ? wait_for_array(session, answer) : answer);
        return;
    }
    api::ScrubIntegrityVolumeRequest request;
    request.set_name(volume_name(flags.name));
    request.set_cancel(flags.cancel);
    api::IntegrityVolume answer;
    Client(session).call(kIntegrity, "ScrubIntegrityVolume", request, answer);
    if (flags.wait) {
        answer = wait_for_end<api::IntegrityVolume, api::GetIntegrityVolumeRequest>(
            session, kIntegrity, "GetIntegrityVolume", answer);
    }
    print(session, *find_kind("integrity"), answer);
}

namespace {

api::Rekey begin_rekey(const Session& session, const RekeyFlags& flags) {
    opi_api::storage::v1::GetEncryptedVolumeRequest asks;
    asks.set_name(volume_name(flags.name));
    opi_api::storage::v1::EncryptedVolume volume;
    Client(session).call(kEncryption, "GetEncryptedVolume", asks, volume);
    api::RekeyVolumeRequest request;
    request.set_name(volume.name());
    request.set_key(read_key_file("--key-file", flags.key_file, volume.cipher()));
    request.set_background_mbs(flags.background_mbs);
    api::Rekey answer;
    Client(session).call(kRemora, "RekeyVolume", request, answer);
    return answer;
}

api::Rekey look_at_rekey(const Session& session, const RekeyFlags& flags) {
    api::GetRekeyRequest request;
    request.set_name(volume_name(flags.name));
    api::Rekey answer;
    Client(session).call(kRemora, "GetRekey", request, answer);
    return answer;
}

}  // namespace

void rekey(const Session& session, const RekeyFlags& flags) {
    api::Rekey now =
        flags.key_file.empty() ? look_at_rekey(session, flags) : begin_rekey(session, flags);
    if (flags.wait) {
        now = wait_for_end<api::Rekey, api::GetRekeyRequest>(session, kRemora, "GetRekey", now);
    }
    if (session.json()) {
        session.out << to_json(now);
        return;
    }
    const bool done = now.work().kind() == api::BackgroundWork::KIND_UNSPECIFIED;
    Table table({"NAME", "REKEY", "REASON"});
    table.add({short_name(now.name()),
               done ? "has one key"
                    : core::format_size(now.work().done_bytes()) + " of " +
                          core::format_size(now.work().total_bytes()),
               now.reason().empty() ? "-" : now.reason()});
    table.print(session.out);
}

void replace_member(const Session& session, const ReplaceFlags& flags) {
    api::ReplaceRaidMemberRequest request;
    request.set_name(volume_name(flags.array));
    request.set_member(flags.member);
    request.set_replacement(flags.with);
    api::RaidVolume answer;
    Client(session).call(kRaid, "ReplaceRaidMember", request, answer);
    print(session, *find_kind("raid"), flags.wait ? wait_for_array(session, answer) : answer);
}

void remove_member(const Session& session, const std::string& array, const std::string& member) {
    api::RemoveRaidMemberRequest request;
    request.set_name(volume_name(array));
    request.set_member(member);
    api::RaidVolume answer;
    Client(session).call(kRaid, "RemoveRaidMember", request, answer);
    print(session, *find_kind("raid"), answer);
}

}  // namespace remora::cli
