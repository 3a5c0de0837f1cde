// SPDX-License-Identifier: Apache-2.0
#include "cli/overview_commands.h"

#include <cstdint>
#include <initializer_list>

#include <google/protobuf/empty.pb.h>

#include "cli/conditions_text.h"
#include "cli/kinds.h"
#include "cli/output.h"
#include "core/units.h"
#include "inventory/inventory.pb.h"
#include "remora/v1/remora.pb.h"
#include "storage/backend_nvme.pb.h"

namespace remora::cli {

namespace {

namespace api = remora::v1;
namespace inventory_api = opi_api::inventory::v1;

constexpr std::string_view kService = "remora.v1.RemoraService";
constexpr const char* kMachine = "inventory/local/inventory/local";

/// The words that are there, with spaces.
std::string joined(std::initializer_list<std::string> words) {
    std::string text;
    for (const std::string& word : words) {
        text += (text.empty() || word.empty() ? "" : " ") + word;
    }
    return text;
}

template <typename Texts>
std::string listed(const Texts& texts, const char* between) {
    std::string all;
    for (const std::string& text : texts) {
        all += (all.empty() ? "" : between) + text;
    }
    return all;
}

std::string counted(std::uint64_t count, const std::string& noun) {
    return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

std::string size_of(std::int64_t bytes) {
    return core::format_size(static_cast<std::uint64_t>(bytes < 0 ? 0 : bytes));
}

void print_machine(const Session& session, const inventory_api::Inventory& machine) {
    Table table({"PART", "IS"});
    const auto& system = machine.system();
    table.add({"system", joined({system.vendor(), system.name(), system.version()})});
    table.add({"serial number", system.serial_number()});
    table.add({"uuid", system.uuid()});
    const auto& board = machine.baseboard();
    table.add({"baseboard", joined({board.vendor(), board.product(), board.version()})});
    const auto& chassis = machine.chassis();
    table.add({"chassis", joined({chassis.vendor(), chassis.type_description()})});
    const auto& bios = machine.bios();
    table.add({"bios", joined({bios.vendor(), bios.version(), bios.date()})});
    table.add({"processor", counted(machine.processor().total_cores(), "core") + ", " +
                                counted(machine.processor().total_threads(), "thread")});
    table.add({"memory", size_of(machine.memory().total_physical_bytes()) + ", of which " +
                             size_of(machine.memory().total_usable_bytes()) + " usable"});
    table.print(session.out);
    if (machine.pci().empty()) {
        return;
    }
    session.out << '\n';
    Table functions({"PCI", "CLASS", "VENDOR", "PRODUCT", "DRIVER"});
    for (const auto& function : machine.pci()) {
        functions.add({function.address(), joined({function.class_(), function.subclass()}),
                       function.vendor(), function.product(), function.driver()});
    }
    functions.print(session.out);
}

void print_calls(const Session& session, const api::Capabilities& answer, bool missing) {
    Table table({"CALL", "SERVICE", "CAN", "WHY NOT"});
    bool any = false;
    for (const api::CallCapability& call : answer.calls()) {
        if (missing && call.supported()) {
            continue;
        }
        table.add({call.method(), call.service().substr(call.service().rfind('.') + 1),
                   call.supported() ? "yes" : "no", call.reason()});
        any = true;
    }
    if (any) {
        table.print(session.out);
    } else {
        session.out << "there is no call that it cannot do\n";
    }
}

void print_options(const Session& session, const api::Capabilities& answer, bool missing) {
    Table table({"OPTION", "CAN", "DETAIL"});
    bool any = false;
    for (const api::OptionCapability& option : answer.options()) {
        if (missing && option.supported()) {
            continue;
        }
        table.add({option.name(), option.supported() ? "yes" : "no", option.detail()});
        any = true;
    }
    if (any) {
        session.out << '\n';
        table.print(session.out);
    }
}

}  // namespace

void inventory(const Session& session) {
    inventory_api::GetInventoryRequest request;
    request.set_name(kMachine);  // There is one machine, whatever it is called.
    inventory_api::Inventory machine;
    Client(session).call("opi_api.inventory.v1.InventoryService", "GetInventory", request, machine);
    if (session.json()) {
        session.out << to_json(machine);
    } else {
        print_machine(session, machine);
    }
}

void volumes(const Session& session) {
    Client client(session);
    api::ListVolumesRequest request;
    api::ListVolumesResponse all;
    for (;;) {
        api::ListVolumesResponse page;
        client.call(kService, "ListVolumes", request, page);
        all.mutable_volumes()->MergeFrom(page.volumes());
        if (page.next_page_token().empty()) {
            break;
        }
        if (page.next_page_token() == request.page_token()) {
            throw Refused(grpc::StatusCode::INTERNAL,
                          "the daemon's list does not go on: its page token leads to itself");
        }
        request.set_page_token(page.next_page_token());
    }
    if (session.json()) {
        session.out << to_json(all);
        return;
    }
    if (all.volumes().empty()) {
        session.out << "no volumes\n";
        return;
    }
    Table table({"VOLUME", "KIND", "SIZE", "BLOCK", "READY", "STANDS ON", "LIMITED BY", "USED BY"});
    for (const api::VolumeOverview& volume : all.volumes()) {
        table.add({volume.name(), volume.kind(), core::format_size(volume.size_bytes()),
                   std::to_string(volume.block_size()),
                   volume.ready() ? "yes" : "no: " + volume.reason(), listed(volume.chain(), " > "),
                   listed(volume.limited_by(), ", "), listed(volume.used_by(), ", ")});
    }
    table.print(session.out);
}

void conditions(const Session& session, const ConditionsFlags& flags) {
    api::ListConditionsRequest request;
    request.set_name_prefix(flags.prefix);
    api::ListConditionsResponse answer;
    Client(session).call(kService, "ListConditions", request, answer);
    if (flags.trouble) {
        api::ListConditionsResponse some;
        for (const api::ResourceConditions& resource : answer.resources()) {
            api::ResourceConditions bad;
            bad.set_name(resource.name());
            for (const api::Condition& condition : resource.conditions()) {
                if (is_trouble(condition)) {
                    *bad.add_conditions() = condition;
                }
            }
            if (!bad.conditions().empty()) {
                *some.add_resources() = bad;
            }
        }
        answer = some;
    }
    if (session.json()) {
        session.out << to_json(answer);
        return;
    }
    if (answer.resources().empty()) {
        session.out << (flags.trouble ? "nothing is wrong\n" : "nothing to tell\n");
        return;
    }
    Table table({"RESOURCE", "CONDITION", "IS", "FOR", "REASON", "MESSAGE"});
    for (const api::ResourceConditions& resource : answer.resources()) {
        for (const api::Condition& condition : resource.conditions()) {
            table.add({resource.name(), condition.type(), status_text(condition),
                       uptime_text(condition.age_ms() / 1000), condition.reason(),
                       condition.message()});
        }
    }
    table.print(session.out);
}

void capabilities(const Session& session, const CapabilitiesFlags& flags) {
    api::Capabilities answer;
    Client(session).call(kService, "GetCapabilities", api::GetCapabilitiesRequest(), answer);
    if (session.json()) {
        session.out << to_json(answer);
        return;
    }
    session.out << "remorad " << answer.version() << ": host platform "
                << (answer.host_platform().empty() ? "none" : answer.host_platform()) << " with "
                << counted(answer.host_functions(), "function")
                << (answer.host_virtual_functions() == 0
                        ? std::string()
                        : " and " + counted(answer.host_virtual_functions(), "virtual function"))
                << "; shows volumes by " << listed(answer.front_end_transports(), ", ")
                << "; reaches them by " << listed(answer.back_end_transports(), ", ") << "\n\n";
    print_calls(session, answer, flags.missing);
    print_options(session, answer, flags.missing);
}

void reset(const Session& session, const std::string& remote) {
    const Kind* kind = find_kind("remote-controller");
    opi_api::storage::v1::ResetNvmeRemoteControllerRequest request;
    request.set_name(full_name(*kind, remote));
    google::protobuf::Empty nothing;
    Client(session).call(kind->service, "ResetNvmeRemoteController", request, nothing);
    if (session.json()) {
        session.out << "{}\n";
    } else {
        session.out << "reset " << short_name(request.name()) << '\n';
    }
}

}  // namespace remora::cli
