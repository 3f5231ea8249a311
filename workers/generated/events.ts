// Generated from proto/ by `millrace proto`. Do not edit.
import type {} from 'millrace/define';

export interface Money {
  amount: number;
  currency: string;
}

export interface Item {
  sku: string;
  description: string;
  quantity: number;
  unitPrice: number;
}

export interface OrderCreated {
  orderId: string;
  userId: string;
  country: string;
  items: Item[];
  total: Money | null;
}

export interface OrderCancelled {
  orderId: string;
  userId: string;
  country: string;
  items: Item[];
  total: Money | null;
  reason: string;
}

export interface PaymentCaptured {
  orderId: string;
  paymentId: string;
  amount: Money | null;
}

export interface PaymentFailed {
  orderId: string;
  paymentId: string;
  reason: string;
}

export interface PaymentRequested {
  orderId: string;
  userId: string;
  amount: Money | null;
}

export interface PaymentTimeout {
  orderId: string;
}

export interface ShipmentRequested {
  orderId: string;
  paymentId: string;
}

export interface ShipmentDispatched {
  orderId: string;
  trackingId: string;
}

export interface ShipmentTimeout {
  orderId: string;
}

export interface ShipmentDelayed {
  orderId: string;
}

export interface OrderAbandoned {
  orderId: string;
  reason: string;
}

export interface StockReserved {
  orderId: string;
  lines: StockLine[];
}

export interface StockRejected {
  orderId: string;
  sku: string;
  missing: number;
}

export interface StockLine {
  sku: string;
  quantity: number;
}

declare module 'millrace/define' {
  interface EventTypes {
    'order.abandoned': OrderAbandoned;
    'order.cancelled': OrderCancelled;
    'order.created': OrderCreated;
    'payment.captured': PaymentCaptured;
    'payment.failed': PaymentFailed;
    'payment.requested': PaymentRequested;
    'payment.timeout': PaymentTimeout;
    'shipment.delayed': ShipmentDelayed;
    'shipment.dispatched': ShipmentDispatched;
    'shipment.requested': ShipmentRequested;
    'shipment.timeout': ShipmentTimeout;
    'stock.rejected': StockRejected;
    'stock.reserved': StockReserved;
  }
}
