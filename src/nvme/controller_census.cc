// SPDX-License-Identifier: Apache-2.0
// nvme::Controller: admin commands that its reactor alone cannot answer.
#include <algorithm>

#include "core/byte_reader.h"
#include "nvme/controller.h"
#include "nvme/log_window.h"

namespace remora::nvme {

namespace {

using spec::Cns;
using spec::Command;
using spec::LogPage;
using spec::StatusCode;

std::uint16_t refused(StatusCode code) {
    return spec::status_field(code, true);
}

}  // namespace

spec::ControllerList controller_list(std::span<const std::uint16_t> controllers,
                                     std::uint16_t first) {
    std::vector<std::uint16_t> ids(controllers.begin(), controllers.end());
    std::ranges::sort(ids);
    spec::ControllerList list{};
    std::size_t count = 0;
    for (auto at = std::ranges::lower_bound(ids, first);
         at != ids.end() && count < spec::kControllerListEntries; ++at) {
        list.cntlid[count++] = *at;
    }
    list.count = static_cast<std::uint16_t>(count);
    return list;
}

/// NVM Express Base 2.0, Identify CNS 12h and 13h. Every controller of the subsystem sees all of
/// its namespaces, so a namespace is attached to all of them.
AdminResult Controller::list_controllers(const Command& command, CommandToken token) {
    const std::uint32_t nsid = command.nsid;
    if (static_cast<Cns>(command.cdw10 & 0xffU) == Cns::AttachedControllers &&
        subsystem_->find(nsid) == nullptr) {
        // Namespace Identifier: what is out of range is invalid; an inactive NSID, or all of them
        // here, is a field that is wrong.
        const bool invalid = nsid == 0 || (nsid > subsystem_->identity().max_namespaces &&
                                           nsid != spec::kBroadcastNsid);
        return {.status =
                    refused(invalid ? StatusCode::InvalidNamespace : StatusCode::InvalidField)};
    }
    transport_->gather(token);
    return {.pending = true};
}

/// NVM Express Base 2.0, Error Information and SMART / Health Information. Neither is bound to an
/// event here, so Retain Asynchronous Event has nothing to retain.
AdminResult Controller::health_page(const Command& command, CommandToken token) {
    const bool smart = static_cast<LogPage>(command.cdw10 & 0xffU) == LogPage::Smart;
    // LPA bit 0 is 0: there is one page for all namespaces.
    if (smart && command.nsid != 0 && command.nsid != spec::kBroadcastNsid) {
        return {.status = refused(StatusCode::InvalidField)};
    }
    const std::uint64_t size =
        smart ? sizeof(spec::SmartLog) : kErrorLogEntries * sizeof(spec::ErrorLogEntry);
    if (spec::log_page_offset(command) > size) {
        return {.status = refused(StatusCode::InvalidField)};
    }
    transport_->gather(token);
    return {.pending = true};
}

std::uint16_t Controller::finish(const Command& command,
                                 std::span<std::byte> data,
                                 const Census& census) {
    error_log_.add(census.errors);
    LogWindow page(spec::log_page_offset(command), data);
    if (static_cast<spec::AdminOpcode>(command.opcode) == spec::AdminOpcode::Identify) {
        const auto list = controller_list(census.controllers, spec::first_controller(command));
        std::ranges::copy(core::as_bytes_of(list), data.begin());
    } else if (static_cast<LogPage>(command.cdw10 & 0xffU) == LogPage::Smart) {
        page.append(smart_log(census.io, census.up, error_log_.count()));
    } else {
        error_log_.write(page);
        if ((command.cdw10 & spec::kRetainAsyncEvent) == 0) {
            error_notice_.masked = false;
            deliver_events();
        }
    }
    return 0;
}

}  // namespace remora::nvme
