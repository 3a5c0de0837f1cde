// SPDX-License-Identifier: Apache-2.0
// Disks of the local host: virtio-blk functions, and what `remora attach` makes.
#include <array>

#include <google/protobuf/empty.pb.h>

#include "cli/endpoint.h"
#include "cli/host_function.h"
#include "cli/kinds.h"
#include "cli/limits.h"
#include "cli/output.h"
#include "core/units.h"
#include "core/uuid.h"
#include "remora/v1/remora.pb.h"
#include "storage/frontend_virtio_blk.pb.h"

namespace remora::cli {

namespace {

namespace opi = opi_api::storage::v1;
namespace api = remora::v1;

constexpr std::array kOwnVirtioFlags{
    Flag{"--function", kFunctionValue,
         "The host's function, 0 to 63, or one of its virtual functions, such as 3.2",
         FlagType::Function, true},
    Flag{"--volume", "REF", "The volume behind it: an id, a name, a UUID, or REMOTEnNSID",
         FlagType::Text, true},
    Flag{"--queues", "Q", "Queues the host may use (default: one a core)", FlagType::Number}};
constexpr std::array kVirtioFlags = joined(kOwnVirtioFlags, kRateFlags);

void build_virtio(const Values& values, Message& resource) {
    auto& disk = as<opi::VirtioBlk>(resource);
    set_function(values.function("--function"), *disk.mutable_pcie_id());
    disk.set_volume_name_ref(values.text("--volume"));
    disk.set_max_io_qps(values.number("--queues"));
    set_limits(values, *disk.mutable_max_limit());
    set_minimum(values, *disk.mutable_min_limit());
}

/// `remora attach`, at the function that is its name.
void create_attachment(Client& client, const Message& resource, const std::string& typed) {
    const auto& wanted = as<api::Attachment>(resource);
    api::AttachVolumeRequest request;
    *request.mutable_discovery() = wanted.discovery();
    request.set_volume_uuid(wanted.volume_uuid());
    request.set_hostnqn(wanted.hostnqn());
    request.set_as(wanted.as());
    const auto function = read_function(typed);
    if (!function) {
        refuse_argument("an attachment is called by its host function, such as 3 or 3.2: '" +
                        typed + "' will not do");
    }
    // What is left out is as the name has it.
    const core::HostFunction said = function_of(wanted);
    if ((said.pf != 0 && said.pf != function->pf) || (said.vf != 0 && said.vf != function->vf)) {
        refuse_argument("attachment " + typed + " is at host function " + typed +
                        ", and its spec says " + said.text() + ": leave that out");
    }
    set_function(*function, request);
    api::Attachment made;
    client.call("remora.v1.RemoraService", "AttachVolume", request, made);
    check_attached(*function, made);
}

/// An attachment is detached: by its function ("3", "attachments/3") or its volume's UUID.
void remove_attachment(Client& client, const std::string& typed, bool allow_missing) {
    api::DetachVolumeRequest request;
    request.set_allow_missing(allow_missing);
    constexpr std::string_view kCollection = "attachments/";
    const std::string_view id =
        typed.starts_with(kCollection) ? std::string_view(typed).substr(kCollection.size()) : typed;
    if (const auto function = read_function(id)) {
        set_function(*function, request);
    } else if (core::Uuid::parse(id)) {
        request.set_volume_uuid(std::string(id));
    } else {
        refuse_argument("'" + typed +
                        "' is no attachment: they are called by their host function, such as 3 or "
                        "3.2, or by their volume's UUID");
    }
    google::protobuf::Empty nothing;
    client.call("remora.v1.RemoraService", "DetachVolume", request, nothing);
}

constexpr std::array kVirtioColumns{
    Column{"FUNCTION",
           [](const Message& m) { return function_text(as<opi::VirtioBlk>(m).pcie_id()); }},
    Column{"VOLUME", [](const Message& m) { return as<opi::VirtioBlk>(m).volume_name_ref(); }},
    Column{"QUEUES",
           [](const Message& m) {
               const auto queues = as<opi::VirtioBlk>(m).max_io_qps();
               return queues == 0 ? std::string("one a core") : std::to_string(queues);
           }},
    Column{"LIMITS",
           [](const Message& m) { return limits_text(as<opi::VirtioBlk>(m).max_limit()); }},
    Column{"AT LEAST",
           [](const Message& m) { return limits_text(as<opi::VirtioBlk>(m).min_limit()); }}};
constexpr std::array kAttachmentColumns{
    Column{"AS",
           [](const Message& m) {
               return enum_text(api::DeviceKind_Name(as<api::Attachment>(m).as()), "DEVICE_KIND");
           }},
    Column{"FUNCTION", [](const Message& m) { return function_of(as<api::Attachment>(m)).text(); }},
    Column{"PCI", [](const Message& m) { return as<api::Attachment>(m).pci_address(); }},
    Column{"STATE",
           [](const Message& m) {
               return enum_text(api::Attachment_State_Name(as<api::Attachment>(m).state()),
                                "STATE");
           }},
    Column{"VOLUME", [](const Message& m) { return as<api::Attachment>(m).volume_uuid(); }},
    Column{"SERIAL", [](const Message& m) { return as<api::Attachment>(m).serial(); }},
    Column{"SIZE",
           [](const Message& m) { return core::format_size(as<api::Attachment>(m).size_bytes()); }},
    Column{"FROM", [](const Message& m) {
               const auto& from = as<api::Attachment>(m).discovery();
               return format_endpoint(from.traddr(), from.trsvcid());
           }}};

constexpr std::array kChangeable{std::string_view("max_limit"), std::string_view("min_limit")};

constexpr std::array kDisks{
    Kind{.name = "virtio-blk",
         .plural = "virtio-blks",
         .what = "a volume shown to the host as a virtio-blk disk",
         .service = "opi_api.storage.v1.FrontendVirtioBlkService",
         .message = "VirtioBlk",
         .collection = "volumes",
         .example = "vda",
         .example_flags = "--function 1 --volume disk0",
         .columns = kVirtioColumns,
         .flags = kVirtioFlags,
         .build = build_virtio,
         .counters = Counters::Opi,
         .pattern = "virtioBlks",
         .limits = [](Message& m) { return as<opi::VirtioBlk>(m).mutable_max_limit(); },
         .minimum = [](Message& m) { return as<opi::VirtioBlk>(m).mutable_min_limit(); },
         .limits_paths = kChangeable,
         .has_minimum =
             [](const Message& m) { return any_limit(as<opi::VirtioBlk>(m).min_limit()); },
         .changeable = kChangeable},
    Kind{.name = "attachment",
         .plural = "attachments",
         .what = "a remote volume that is a disk of the host",
         .service = "remora.v1.RemoraService",
         .message = "Attachment",
         .collection = "attachments",
         .example = "3",
         .columns = kAttachmentColumns,
         .uuid_is_name = true,
         .create = create_attachment,
         .remove = remove_attachment}};

}  // namespace

std::span<const Kind> disk_kinds() {
    return kDisks;
}

}  // namespace remora::cli
