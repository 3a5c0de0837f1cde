// SPDX-License-Identifier: Apache-2.0
// nvme::Controller: identify and log pages.
#include <algorithm>
#include <cstring>

#include "core/byte_reader.h"
#include "nvme/ana.h"
#include "nvme/controller.h"
#include "nvme/spec/fabrics.h"
#include "nvme/spec/identify.h"
#include "nvme/spec/pcie.h"

namespace remora::nvme {

namespace {

using spec::Cns;
using spec::Command;
using spec::LogPage;
using spec::StatusCode;

constexpr std::string_view kFirmware = "0.1";

/// LPA: command effects log; log page offsets and 32-bit lengths.
constexpr std::uint8_t kLogPageAttributes = (1U << 1U) | (1U << 2U);
/// CMIC: what hosts ask for before they take a second controller of a subsystem.
constexpr std::uint8_t kManyControllers = 1U << 1U;
/// CMIC: several ports, several controllers, asymmetric namespace access reporting.
constexpr std::uint8_t kMultiPath = (1U << 0U) | kManyControllers | spec::kCmicAna;
/// VWC 2:1 = 10b: Flush of all namespaces at once is not supported.
constexpr std::uint8_t kVwc = spec::kVwcPresent | (2U << 1U);

std::uint16_t refused(StatusCode code) {
    return spec::status_field(code, true);
}

/// The part of `page` from `offset`, zeros behind its end; `to` was zeroed.
template <typename T>
std::uint16_t copy_page(const T& page, std::uint64_t offset, std::span<std::byte> to) {
    if (offset > sizeof(T)) {
        return refused(StatusCode::InvalidField);
    }
    const auto bytes = core::as_bytes_of(page).subspan(static_cast<std::size_t>(offset));
    std::memcpy(to.data(), bytes.data(), std::min(to.size(), bytes.size()));
    return 0;
}

template <typename T>
void store(std::span<std::byte> to, const T& value) {
    CHECK(to.size() >= sizeof(T));
    std::memcpy(to.data(), &value, sizeof(T));
}

/// What a controller carries out in its I/O queues; the rest depends on its attachment.
spec::CommandEffectsLog effects(bool discovery, bool pcie) {
    using spec::AdminOpcode;
    using spec::IoOpcode;
    spec::CommandEffectsLog log{};
    for (const AdminOpcode opcode :
         {AdminOpcode::GetLogPage, AdminOpcode::Identify, AdminOpcode::Abort,
          AdminOpcode::SetFeatures, AdminOpcode::GetFeatures, AdminOpcode::AsyncEventRequest,
          AdminOpcode::KeepAlive}) {
        log.admin[static_cast<std::uint8_t>(opcode)] = spec::kEffectSupported;
    }
    if (pcie) {
        for (const spec::PcieAdminOpcode opcode :
             {spec::PcieAdminOpcode::DeleteIoSq, spec::PcieAdminOpcode::CreateIoSq,
              spec::PcieAdminOpcode::DeleteIoCq, spec::PcieAdminOpcode::CreateIoCq,
              spec::PcieAdminOpcode::DoorbellBufferConfig}) {
            log.admin[static_cast<std::uint8_t>(opcode)] = spec::kEffectSupported;
        }
    }
    if (!discovery) {
        const std::uint32_t writes = spec::kEffectSupported | spec::kEffectContentChange;
        log.io[static_cast<std::uint8_t>(IoOpcode::Flush)] = spec::kEffectSupported;
        log.io[static_cast<std::uint8_t>(IoOpcode::Read)] = spec::kEffectSupported;
        log.io[static_cast<std::uint8_t>(IoOpcode::Compare)] = spec::kEffectSupported;
        log.io[static_cast<std::uint8_t>(IoOpcode::Verify)] = spec::kEffectSupported;
        log.io[static_cast<std::uint8_t>(IoOpcode::Write)] = writes;
        log.io[static_cast<std::uint8_t>(IoOpcode::WriteZeroes)] = writes;
        log.io[static_cast<std::uint8_t>(IoOpcode::DatasetManagement)] = writes;
        log.io[static_cast<std::uint8_t>(IoOpcode::Copy)] = writes;
    }
    if (!discovery && !pcie) {
        log.io[static_cast<std::uint8_t>(IoOpcode::WriteUncorrectable)] =
            spec::kEffectSupported | spec::kEffectContentChange;
        for (const IoOpcode opcode : {IoOpcode::ReservationRegister, IoOpcode::ReservationReport,
                                      IoOpcode::ReservationAcquire, IoOpcode::ReservationRelease}) {
            log.io[static_cast<std::uint8_t>(opcode)] = spec::kEffectSupported;
        }
    }
    return log;
}

}  // namespace

// --- Identify ---

AdminPlan Controller::plan_identify(const Command& command) const {
    const auto cns = static_cast<Cns>(command.cdw10 & 0xffU);
    if (discovery() && cns != Cns::Controller) {
        return {.status = refused(StatusCode::InvalidField)};
    }
    switch (cns) {
        case Cns::Namespace:
        case Cns::Controller:
        case Cns::ActiveNamespaces:
        case Cns::NamespaceDescriptors:
        case Cns::CommandSetNamespace:
        case Cns::CommandSetController:
        case Cns::CommandSetActiveNamespaces:
        case Cns::IndependentNamespace:
        case Cns::AllocatedNamespaces:
        case Cns::AllocatedNamespace:
        case Cns::AttachedControllers:
        case Cns::Controllers:
        case Cns::CommandSets:
            return {.transfer = Transfer::ToHost,
                    .bytes = static_cast<std::uint32_t>(spec::kIdentifyBytes)};
    }
    return {.status = refused(StatusCode::InvalidField)};
}

std::uint16_t Controller::identify(const Command& command, std::span<std::byte> data) const {
    std::ranges::fill(data, std::byte{0});
    const std::uint32_t nsid = command.nsid;
    const bool other_command_set = (command.cdw11 >> 24U) != 0;  // CSI; 0 is NVM
    const Namespace* found = subsystem_ == nullptr ? nullptr : subsystem_->find(nsid);
    switch (static_cast<Cns>(command.cdw10 & 0xffU)) {
        case Cns::Controller:
            identify_controller(data);
            return 0;
        case Cns::AllocatedNamespace:  // what is allocated here is active
        case Cns::Namespace: {
            // NVM Express Base 2.0, Identify CNS 00h: an inactive NSID reads as zeros; FFFFFFFFh
            // asks for what all namespaces share, which needs namespace management.
            if (nsid == 0 || nsid > subsystem_->identity().max_namespaces) {
                return refused(StatusCode::InvalidNamespace);
            }
            if (found != nullptr) {
                spec::IdentifyNamespace out;
                identify_namespace(*found, out);
                store(data, out);
            }
            return 0;
        }
        case Cns::CommandSetActiveNamespaces:
            if (other_command_set) {
                return refused(StatusCode::InvalidField);
            }
            [[fallthrough]];
        case Cns::AllocatedNamespaces:
        case Cns::ActiveNamespaces:
            if (nsid >= spec::kBroadcastNsid - 1) {
                return refused(StatusCode::InvalidNamespace);
            }
            active_namespaces(nsid, data);
            return 0;
        case Cns::NamespaceDescriptors:
            if (found != nullptr) {
                identify_descriptors(*found, data);
            }
            return found == nullptr ? refused(StatusCode::InvalidNamespace) : std::uint16_t{0};
        case Cns::CommandSetNamespace:
            if (other_command_set || found == nullptr) {
                return refused(other_command_set ? StatusCode::InvalidField
                                                 : StatusCode::InvalidNamespace);
            }
            return 0;  // no protection information: all zeros
        case Cns::CommandSetController:
            if (other_command_set) {
                return refused(StatusCode::InvalidField);
            }
            identify_command_set(data);
            return 0;
        case Cns::IndependentNamespace: {
            if (found == nullptr) {
                return refused(StatusCode::InvalidNamespace);
            }
            spec::IdentifyIndependentNamespace out;
            identify_independent(*found, out);
            store(data, out);
            return 0;
        }
        case Cns::CommandSets:
            data[0] = std::byte{1};  // vector 0: the NVM command set
            return 0;
        case Cns::AttachedControllers:
        case Cns::Controllers:  // list_controllers()
            break;
    }
    return refused(StatusCode::InvalidField);
}

void Controller::identify_command_set(std::span<std::byte> data) const {
    // NVM Command Set 1.0, Identify Controller for the NVM command set: DMRL in byte 3, the number
    // of Dataset Management ranges (0: 256 do not fit 8 bits, no limit). Nothing else is limited.
    std::ranges::fill(data, std::byte{0});
}

void Controller::identify_controller(std::span<std::byte> data) const {
    spec::IdentifyController out{};
    out.mdts = options_.transfer_shift;
    out.cntlid = options_.cntlid;
    out.ver = spec::kVersion14;
    out.ctratt = 1;  // 128-bit host identifiers
    out.cntrltype = discovery() ? spec::kControllerTypeDiscovery : spec::kControllerTypeIo;
    out.acl = 0;
    out.aerl = kMaxEventRequests - 1;
    out.lpa = kLogPageAttributes;
    out.elpe = kErrorLogEntries - 1;
    out.sqes = 0x66;
    out.cqes = 0x44;
    out.maxcmd = static_cast<std::uint16_t>(std::min(options_.max_queue_entries, 0xffffU));
    identify_attachment(out);
    spec::set_field_text(out.fr, kFirmware, ' ');
    if (discovery()) {
        out.oaes = spec::kEventDiscoveryLog;
        spec::set_field_text(out.sn, "0", ' ');
        spec::set_field_text(out.mn, "Remora", ' ');
        const std::string& unique = directory_->unique_nqn;
        spec::set_field_text(out.subnqn, unique.empty() ? spec::kDiscoveryNqn : unique, '\0');
    } else {
        const SubsystemIdentity& identity = subsystem_->identity();
        out.nn = identity.max_namespaces;
        out.mnan = identity.max_namespaces;
        identify_sharing(out);
        out.cdfs = spec::kCopyFormat0;
        out.vwc = kVwc;
        spec::set_field_text(out.sn, identity.serial, ' ');
        spec::set_field_text(out.mn, identity.model, ' ');
        spec::set_field_text(out.subnqn, identity.nqn, '\0');
    }
    store(data, out);
}

/// What depends on how commands and data travel.
void Controller::identify_attachment(spec::IdentifyController& out) const {
    if (pcie()) {
        out.vid = options_.pci_vendor;
        out.ssvid = options_.pci_subsystem_vendor;
        out.oacs = options_.doorbell_buffers ? spec::kOacsDoorbellBuffers : std::uint16_t{0};
        out.sgls = spec::kSglsPcie;
        return;
    }
    out.kas = 1;
    out.sgls = spec::kSglsFabrics;
    out.ioccsz =
        (static_cast<std::uint32_t>(sizeof(spec::Command)) + options_.in_capsule_bytes) / 16;
    out.iorcsz = static_cast<std::uint32_t>(sizeof(spec::Completion)) / 16;
    out.msdbd = 1;
}

/// What an I/O controller does because others have the same namespaces.
void Controller::identify_sharing(spec::IdentifyController& out) const {
    constexpr std::uint16_t kAlways = spec::kOncsCompare | spec::kOncsDatasetManagement |
                                      spec::kOncsWriteZeroes | spec::kOncsVerify | spec::kOncsCopy;
    if (pcie()) {
        out.oaes = spec::kEventNamespaceAttribute;
        out.cmic = subsystem_->identity().one_controller ? std::uint8_t{0} : kManyControllers;
        out.oncs = kAlways;
        return;
    }
    out.oaes = spec::kEventNamespaceAttribute | spec::kEventAnaChange;
    out.cmic = kMultiPath;
    out.anatt = kAnaTransitionSeconds;
    out.anacap = spec::kAnaCapabilities;
    out.anagrpmax = kAnaGroup;
    out.nanagrpid = std::uint32_t{1};
    out.oncs = kAlways | spec::kOncsWriteUncorrectable | spec::kOncsReservations;
    // ACWU stays 0: what a pair writes is whole after a power loss block by block. Without one a
    // pair of any length is isolated from other writes as one.
    out.fuses = spec::kFusesCompareAndWrite;
}

void Controller::active_namespaces(std::uint32_t after, std::span<std::byte> data) const {
    std::size_t count = 0;
    const std::uint32_t last = subsystem_->identity().max_namespaces;
    for (std::uint64_t nsid = std::uint64_t{after} + 1;
         nsid <= last && count < spec::kNamespaceListEntries; ++nsid) {
        if (subsystem_->find(static_cast<std::uint32_t>(nsid)) != nullptr) {
            const core::le32 entry(static_cast<std::uint32_t>(nsid));
            std::memcpy(data.data() + count * sizeof(entry), &entry, sizeof(entry));
            ++count;
        }
    }
}

// --- Log pages ---

AdminPlan Controller::plan_log_page(const Command& command) const {
    const std::uint64_t bytes = spec::log_page_bytes(command);
    if (bytes > max_transfer_bytes() || spec::log_page_offset(command) % 4 != 0) {
        return {.status = refused(StatusCode::InvalidField)};
    }
    const auto page = static_cast<LogPage>(command.cdw10 & 0xffU);
    bool known = false;
    switch (page) {
        case LogPage::Error:
        case LogPage::Smart:
        case LogPage::FirmwareSlot:
        case LogPage::ChangedNamespaces:
        case LogPage::CommandEffects:
            known = !discovery();
            break;
        case LogPage::Ana:
        case LogPage::ReservationNotification:
            known = !discovery() && !pcie();
            break;
        case LogPage::Discovery:
            known = discovery();
            break;
    }
    if (!known) {
        return {.status = refused(StatusCode::InvalidLogPage)};
    }
    return {.transfer = Transfer::ToHost, .bytes = static_cast<std::uint32_t>(bytes)};
}

std::uint16_t Controller::log_page(const Command& command, std::span<std::byte> data) {
    std::ranges::fill(data, std::byte{0});
    const std::uint64_t offset = spec::log_page_offset(command);
    const bool retain = (command.cdw10 & spec::kRetainAsyncEvent) != 0;
    switch (static_cast<LogPage>(command.cdw10 & 0xffU)) {
        case LogPage::Error:
        case LogPage::Smart:  // health_page()
            break;
        case LogPage::FirmwareSlot: {
            spec::FirmwareSlotLog log{};
            log.active = 1;
            spec::set_field_text(log.revision[0], kFirmware, ' ');
            return copy_page(log, offset, data);
        }
        case LogPage::ChangedNamespaces:
            changed_namespaces(offset, data, retain);
            return 0;
        case LogPage::CommandEffects:
            return copy_page(effects(discovery(), pcie()), offset, data);
        case LogPage::Ana:
            if (!read_ana_log(*options_.port, *subsystem_,
                              (command.cdw10 & spec::kAnaGroupsOnly) != 0, offset, data)) {
                return refused(StatusCode::InvalidField);
            }
            if (!retain) {
                ana_notice_ = {};  // the host has just been told
            }
            return 0;
        case LogPage::ReservationNotification:
            return reservation_log(offset, data, retain);
        case LogPage::Discovery:
            if (offset > discovery_log_size(*directory_, options_.hostnqn)) {
                return refused(StatusCode::InvalidField);
            }
            read_discovery_log(*directory_, options_.hostnqn, offset, data);
            if (!retain) {
                discovery_notice_.masked = false;
                deliver_events();
            }
            return 0;
    }
    return refused(StatusCode::InvalidLogPage);
}

void Controller::changed_namespaces(std::uint64_t offset, std::span<std::byte> data, bool retain) {
    spec::ChangedNamespacesLog log{};
    if (changed_overflow_) {
        log.nsid[0] = spec::kBroadcastNsid;
    } else {
        for (std::size_t i = 0; i < changed_.size(); ++i) {
            log.nsid[i] = changed_[i];
        }
    }
    if (offset <= sizeof(log)) {
        copy_page(log, offset, data);
    }
    if (!retain) {
        changed_.clear();
        changed_overflow_ = false;
        // The host has just been told all there is.
        namespace_notice_ = {};
    }
}

}  // namespace remora::nvme
